//! Rows about pipes: 64 bytes that two processes send back and forth.
//!
//! | contestant | how it waits |
//! |---|---|
//! | ours | spins if the peer is on another CPU, otherwise sleeps |
//! | `raw_seqpacket` | the same kind of socket, always asleep in the kernel |
//! | `ipc_channel` | the crate `ipc-channel`, whose channels forked processes inherit |
//! | `python` | `multiprocessing.Pipe`, `send_bytes` and `recv_bytes` |

use anyhow::{Result, ensure};
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, bytes_channel};
use kernel_ipc::{Connection, duplex};

use crate::children;
use crate::placement::Placement;
use crate::python;
use crate::reference::raw_packet::{pair, recv_packet, send_packet};
use crate::row::{Contestant, Pick, Row, Setup, Target, Unit};

const ROUND_TRIPS: u64 = 20_000;
/// Fewer, because Python takes several times as long.
const ROUND_TRIPS_OF_PYTHON: u64 = 8_000;
const BYTES: usize = 64;
type Packet = [u8; BYTES];
const PACKET: Packet = [7; BYTES];

pub(crate) fn rows() -> Vec<Row> {
    let row = |name, placement, limit, enter: fn(&Setup) -> Result<Vec<Contestant>>| Row {
        name,
        placement,
        unit: Unit::Micros,
        pick: Pick::Median,
        target: Target::at_most_times(limit, "raw_seqpacket"),
        needs: None,
        enter: Box::new(enter),
    };
    vec![
        row("pipe_round_trip", Placement::OneCore, 1.15, round_trips),
        row("pipe_round_trip", Placement::TwoCores, 0.06, round_trips),
        // Four times 90 ns more: each value is encoded twice and decoded twice.
        row("pipe_value_round_trip", Placement::OneCore, 1.35, value_round_trips),
        row("pipe_value_round_trip", Placement::TwoCores, 0.067, value_round_trips),
    ]
}

fn round_trips(setup: &Setup) -> Result<Vec<Contestant>> {
    let mut contestants = vec![
        between::<Connection<(), ()>>("ours", setup, || Ok(duplex()?)),
        between::<std::os::fd::OwnedFd>("raw_seqpacket", setup, pair),
        between::<Channel>("ipc_channel", setup, Channel::pair),
    ];
    let prepare = PYTHON.replace("CPU_A", &setup.cpus.list(setup.placement, 0));
    let prepare = prepare.replace("CPU_B", &setup.cpus.list(setup.placement, 1));
    let times = setup.scale.of(ROUND_TRIPS_OF_PYTHON);
    contestants.extend(python::contestant_in_micros(setup, prepare, PYTHON_BODY, times));
    Ok(contestants)
}

fn value_round_trips(setup: &Setup) -> Result<Vec<Contestant>> {
    Ok(vec![
        between::<Values>("ours", setup, || {
            let (one, other) = duplex()?;
            Ok((Values(one), Values(other)))
        }),
        between::<std::os::fd::OwnedFd>("raw_seqpacket", setup, pair),
    ])
}

const PYTHON: &str = "\
import os
from multiprocessing import Pipe, Process
here, there = Pipe()
message = b'7' * 64
def answer():
    os.sched_setaffinity(0, [CPU_B])
    while True:
        there.send_bytes(there.recv_bytes())
os.sched_setaffinity(0, [CPU_A])
Process(target=answer, daemon=True).start()";
const PYTHON_BODY: &str = "here.send_bytes(message); here.recv_bytes()";

/// An end that sends and receives packets.
trait End: Sized + 'static {
    fn put(&self, packet: &Packet) -> Result<()>;
    fn take(&self, packet: &mut Packet) -> Result<()>;
}

/// Two processes with one end each: microseconds per round trip.
fn between<E: End>(name: &'static str, setup: &Setup, make: fn() -> Result<(E, E)>) -> Contestant {
    let setup = setup.clone();
    Contestant::new(name, move || {
        let times = setup.scale.of(ROUND_TRIPS);
        let (one, other) = make()?;
        let nanos =
            children::together(
                &setup,
                2,
                |index| {
                    if index == 0 { ask(&one, times) } else { answer(&other, times) }
                },
            )?;
        Ok(nanos / times as f64 / 1e3)
    })
}

#[inline(never)]
fn ask<E: End>(end: &E, times: u64) -> Result<()> {
    let mut packet = [0; BYTES];
    for _ in 0..times {
        end.put(&PACKET)?;
        end.take(&mut packet)?;
    }
    ensure!(packet == PACKET, "a packet was changed on its way");
    Ok(())
}

#[inline(never)]
fn answer<E: End>(end: &E, times: u64) -> Result<()> {
    let mut packet = [0; BYTES];
    for _ in 0..times {
        end.take(&mut packet)?;
        end.put(&packet)?;
    }
    Ok(())
}

impl End for Connection<(), ()> {
    #[inline]
    fn put(&self, packet: &Packet) -> Result<()> {
        Ok(self.send_bytes(packet)?)
    }

    #[inline]
    fn take(&self, packet: &mut Packet) -> Result<()> {
        self.recv_bytes_into(packet)?;
        Ok(())
    }
}

/// The same bytes as a value of eight numbers.
struct Values(Connection<[u64; 8], [u64; 8]>);

impl End for Values {
    #[inline]
    fn put(&self, packet: &Packet) -> Result<()> {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(packet.chunks_exact(8)) {
            *word = u64::from_ne_bytes(bytes.try_into()?);
        }
        Ok(self.0.send(&words)?)
    }

    #[inline]
    fn take(&self, packet: &mut Packet) -> Result<()> {
        for (bytes, word) in packet.chunks_exact_mut(8).zip(self.0.recv()?) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        Ok(())
    }
}

impl End for std::os::fd::OwnedFd {
    #[inline]
    fn put(&self, packet: &Packet) -> Result<()> {
        send_packet(self, packet)
    }

    #[inline]
    fn take(&self, packet: &mut Packet) -> Result<()> {
        recv_packet(self, packet)
    }
}

/// One end of two `ipc-channel` channels, one for each direction.
struct Channel {
    sender: IpcBytesSender,
    receiver: IpcBytesReceiver,
}

impl Channel {
    fn pair() -> Result<(Self, Self)> {
        let (one, at_other) = bytes_channel()?;
        let (other, at_one) = bytes_channel()?;
        Ok((Self { sender: one, receiver: at_one }, Self { sender: other, receiver: at_other }))
    }
}

impl End for Channel {
    fn put(&self, packet: &Packet) -> Result<()> {
        Ok(self.sender.send(packet)?)
    }

    fn take(&self, packet: &mut Packet) -> Result<()> {
        packet.copy_from_slice(&self.receiver.recv()?);
        Ok(())
    }
}

//! How long a get over TCP takes beside hostile connections: a thousand silent ones, some that send a byte now and then, some that
//! send garbage, some that repeat the first message of a client with the key and a part of a record, clients with a wrong key, and a
//! client that reads none of its answers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use manager_rt::Manager;
use mp_sys::deadline::Deadline;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shm_core::RawValue;

use super::latency::slow;
use super::round_trips::{KEY, VALUE};
use super::tcp::{SECRET, connect, entries, started_at};
use crate::children::{Crowd, SAMPLE_TIMEOUT};
use crate::row::{Contestant, Setup};

const GETS: u64 = 20_000;
const SILENT: usize = 1_000;
const SLOW: usize = 20;
/// The bytes of one stranger that sends garbage, and a key that the server does not have.
const GARBAGE: [u8; 4_096] = [0x5a; 4_096];
/// The length of the first message of a handshake, and the beginning of a record of 64 bytes that follows it.
const HELLO_BYTES: usize = 48;
const CUT_RECORD: [u8; 10] = [64, 0, 7, 7, 7, 7, 7, 7, 7, 7];
/// The answers that are never read: 10 MiB.
const UNREAD: usize = 10;
const LONG: usize = 1 << 20;
/// What the client that reads nothing gets of what the server sends: enough to connect and to make an object.
const HEARD: u64 = 16 << 10;
const PAUSE: Duration = Duration::from_millis(1);

/// What the hostile processes have done.
struct Hostile {
    rounds: RawValue<u64>,
    unread: RawValue<u64>,
}

/// Records the first message of a client that has the key.
fn record_hello() -> Result<[u8; HELLO_BYTES]> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("mp+tcp://{}", listener.local_addr()?);
    let client =
        thread::Builder::new().spawn(move || Manager::builder().key(SECRET).connect(&address).map(drop))?;
    let mut hello = [0; HELLO_BYTES];
    listener.accept()?.0.read_exact(&mut hello)?;
    // Nobody has answered it.
    ensure!(client.join().is_ok_and(|connected| connected.is_err()), "nobody was there");
    Ok(hello)
}

/// Attacks a server without a pause.
fn attack(place: &str, hostile: &Hostile) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let connect_all = |count| (0..count).map(|_| TcpStream::connect(place)).collect::<Result<Vec<_>, _>>();
    let (mut silent, mut slow) = (connect_all(SILENT)?, connect_all(SLOW)?);
    let replayed = [&record_hello()?[..], &CUT_RECORD].concat();
    let mut replays = connect_all(SLOW)?;
    for round in 0_usize.. {
        // The silent ones are disconnected after some time, and replaced before.
        silent[round % SILENT] = TcpStream::connect(place)?;
        let slow = &mut slow[round % SLOW];
        if slow.write_all(&[7]).is_err() {
            *slow = TcpStream::connect(place)?;
        }
        // The server answers the message, as it must, and waits for the rest of the record.
        replays[round % SLOW] = TcpStream::connect(place)?;
        drop(replays[round % SLOW].write_all(&replayed));
        // The server may end it before all is written.
        drop(TcpStream::connect(place)?.write_all(&GARBAGE));
        let refused = Manager::builder().key(GARBAGE.as_slice()).connect(&format!("mp+tcp://{place}"));
        ensure!(refused.is_err(), "a stranger was let in");
        hostile.rounds.fetch_add(1);
    }
    Ok(())
}

/// Requests long answers through a relay that stops reading.
fn read_nothing(place: &str, hostile: &Hostile) -> Result<()> {
    let relay = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("mp+tcp://{}", relay.local_addr()?);
    let server = TcpStream::connect(place)?;
    let relaying = thread::Builder::new().spawn(move || -> Result<()> {
        let client = relay.accept()?.0;
        let (from, mut to) = (client.try_clone()?, server.try_clone()?);
        let _requests = thread::Builder::new().spawn(move || std::io::copy(&mut &from, &mut to))?;
        std::io::copy(&mut (&server).take(HEARD), &mut &client)?;
        // The connections stay.
        loop {
            thread::park();
        }
    })?;
    let client = Manager::builder().key(SECRET).connect(&address)?;
    let long = client.named("long").value(&vec![7_u8; LONG])?;
    hostile.unread.fetch_add(1);
    let answers = client.pipeline(|p| (0..UNREAD).map(|_| p.on(&long).get()).collect::<Vec<_>>());
    drop((answers, relaying));
    anyhow::bail!("the answers were read")
}

/// Measures the 99th percentile of a get, in microseconds.
pub(super) fn get(setup: &Setup) -> Result<Vec<Contestant>> {
    let times = usize::try_from(setup.scale.of(GETS))?;
    // The one that reads nothing is not disconnected.
    let (local, address) = started_at(setup, "127.0.0.1:0?lost_after=600s")?;
    let place = address.strip_prefix("mp+tcp://").and_then(|place| place.split('?').next());
    let place = place.context("the address has no place")?;
    let remote = connect(&local)?;
    let entries = entries(&remote)?;
    let hostile = Hostile { rounds: RawValue::new(0)?, unread: RawValue::new(0)? };
    let crowds = [
        Crowd::peer(setup, || attack(place, &hostile))?,
        Crowd::peer(setup, || read_nothing(place, &hostile))?,
    ];
    let deadline = Deadline::after(SAMPLE_TIMEOUT);
    while hostile.rounds.load() == 0 || hostile.unread.load() == 0 {
        ensure!(!deadline.has_passed(), "the strangers do not come");
        thread::sleep(PAUSE);
    }
    let sample = move || {
        let _kept = (&local, &remote, &crowds);
        let (mut micros, before) = (Vec::new(), hostile.rounds.load());
        let deadline = Deadline::after(SAMPLE_TIMEOUT);
        // The strangers do something beside each sample.
        while micros.len() < times || hostile.rounds.load() == before {
            ensure!(!deadline.has_passed(), "the strangers have ended");
            let started = Instant::now();
            ensure!(entries.get(&KEY)? == Some(VALUE), "a value was changed on its way");
            micros.push(started.elapsed().as_secs_f64() * 1e6);
        }
        slow(micros)
    };
    Ok(vec![Contestant::new("ours", sample)])
}

//! Rows about queues: the cost of one item on its way from one process to another.
//!
//! | contestant | what it is |
//! |---|---|
//! | ours | [`Queue`] |
//! | `raw_seqpacket` | a packet socket of the kernel, which holds a few hundred items |
//! | `ipc_channel` | the crate `ipc-channel`, one producer and one consumer |
//! | `python` | `multiprocessing.Queue`, `put` and `get` |
//! | `ping_pong` | a word that two processes pass back and forth between the same CPUs: a round trip, measured around each repeat |
//! | `two_copies` | one process only copies the item into a ring of 1 MiB and out again |
//!
//! Producers run on CPU 0 and consumers on CPU 1, or all on CPU 0. Items of 64 KiB go through queues that hold 1 MiB.
//! Otherwise, a producer beside its consumer on one CPU would fill megabytes before the consumer runs, and the row
//! would measure how fast the kernel allocates pages.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, bytes_channel};
use kernel_ipc::{JoinableQueue, Queue};

use crate::children;
use crate::placement::Placement;
use crate::python;
use crate::reference::RawMapping;
use crate::reference::raw_packet::{pair, recv_packet, send_packet};
use crate::row::{Contestant, PING_PONG, Pick, Row, Setup, Target, Unit, per_operation};

const ITEMS: u64 = 400_000;
const ITEMS_OF_PYTHON: u64 = 20_000;
const LARGE_ITEMS: u64 = 8_000;
const BATCH: usize = 32;
const BYTES: usize = 64;
const LARGE_BYTES: usize = 64 << 10;
const RING_BYTES: usize = 1 << 20;
const ROUND_TRIPS: u64 = 20_000;

type Enter = fn(&Setup) -> Result<Vec<Contestant>>;

fn row(name: &'static str, placement: Placement, target: Target, enter: Enter) -> Row {
    let (unit, pick) = (Unit::Nanos, Pick::Median);
    Row { name, placement, unit, pick, target, needs: None, enter: Box::new(enter) }
}

pub(crate) fn rows() -> Vec<Row> {
    use Placement::{OneCore, TwoCores};
    let most = Target::at_most;
    let times = Target::at_most_times;
    vec![
        row("queue_bytes_64", OneCore, most(300.0), small),
        row("queue_bytes_64", TwoCores, times(0.6, PING_PONG), small),
        row("queue_bytes_64_vs_ipc_channel", TwoCores, times(0.2, "ipc_channel"), against_ipc_channel),
        row("queue_value_64", OneCore, most(390.0), values),
        row("queue_value_64", TwoCores, times(1.05, PING_PONG), values),
        row("queue_bytes_64_4x4", OneCore, most(250.0), four_by_four),
        row("queue_bytes_64_4x4", TwoCores, times(1.25, PING_PONG), four_by_four),
        row("queue_many_32", OneCore, most(25.0), batches),
        row("queue_many_32", TwoCores, times(0.125, PING_PONG), batches),
        row("queue_many_32_4x4", OneCore, most(25.0), batches_four_by_four),
        row("queue_many_32_4x4", TwoCores, times(0.125, PING_PONG), batches_four_by_four),
        row("queue_64k", OneCore, times(1.25, "two_copies"), large),
        row("queue_64k", TwoCores, times(1.25, "two_copies"), large),
        row("queue_64k_4x4", OneCore, times(1.25, "two_copies"), large_four_by_four),
        row("queue_64k_4x4", TwoCores, times(1.25, "two_copies"), large_four_by_four),
        row("queue_wake_up", TwoCores, times(10.0, PING_PONG), wake_ups),
        row("queue_put_at_10_million", OneCore, times(1.25, "at_1000"), growth),
        row("joinable_queue_task", TwoCores, times(6.0, "queue"), tasks),
    ]
}

/// Producers put `each` items with `put`, and consumers take as many with `take`: time per item, counting those of all
/// processes.
fn crowd<Q: 'static>(
    name: &'static str,
    setup: &Setup,
    (pairs, items): (u64, u64),
    make: impl Fn() -> Result<Q> + 'static,
    put: fn(&Q, u64) -> Result<()>,
    take: fn(&Q, u64) -> Result<()>,
) -> Contestant {
    let setup = setup.clone();
    let each = (setup.scale.of(items / pairs) / BATCH as u64).max(1) * BATCH as u64;
    Contestant::new(name, move || {
        let queue = make()?;
        let nanos = children::together(&setup, pairs * 2, |index| {
            if index.is_multiple_of(2) { put(&queue, each) } else { take(&queue, each) }
        })?;
        Ok(per_operation(nanos, each * pairs))
    })
}

fn ours(name: &'static str, setup: &Setup, pairs: u64) -> Contestant {
    crowd(name, setup, (pairs, ITEMS), || Ok(Queue::<()>::new()?), put_bytes::<BYTES>, take_bytes::<BYTES>)
}

#[inline(never)]
fn put_bytes<const N: usize>(queue: &Queue<()>, times: u64) -> Result<()> {
    let item = vec![7; N];
    for _ in 0..times {
        queue.put_bytes(black_box(&item))?;
    }
    Ok(())
}

#[inline(never)]
fn take_bytes<const N: usize>(queue: &Queue<()>, times: u64) -> Result<()> {
    let mut item = vec![0; N];
    for _ in 0..times {
        ensure!(queue.get_bytes_into(black_box(&mut item))? == N, "an item changed its length");
    }
    ensure!(item.iter().all(|byte| *byte == 7), "an item was changed on its way");
    Ok(())
}

fn small(setup: &Setup) -> Result<Vec<Contestant>> {
    let mut contestants = vec![ours("ours", setup, 1), raw_seqpacket(setup), ipc_channel(setup)];
    contestants.extend(python(setup));
    Ok(contestants)
}

fn against_ipc_channel(setup: &Setup) -> Result<Vec<Contestant>> {
    Ok(vec![ours("ours", setup, 1), ipc_channel(setup)])
}

fn four_by_four(setup: &Setup) -> Result<Vec<Contestant>> {
    Ok(vec![ours("ours", setup, 4)])
}

fn raw_seqpacket(setup: &Setup) -> Contestant {
    let put = |(sender, _): &(std::os::fd::OwnedFd, _), times| {
        (0..times).try_for_each(|_| send_packet(sender, &[7; BYTES]))
    };
    let take = |(_, receiver): &(_, std::os::fd::OwnedFd), times| {
        let mut packet = [0; BYTES];
        (0..times).try_for_each(|_| recv_packet(receiver, &mut packet))
    };
    crowd("raw_seqpacket", setup, (1, ITEMS / 4), pair, put, take)
}

fn ipc_channel(setup: &Setup) -> Contestant {
    type Channel = (IpcBytesSender, IpcBytesReceiver);
    let put = |(sender, _): &Channel, times| -> Result<()> {
        (0..times).try_for_each(|_| Ok(sender.send(&[7; BYTES])?))
    };
    let take = |(_, receiver): &Channel, times| -> Result<()> {
        for _ in 0..times {
            black_box(receiver.recv()?);
        }
        Ok(())
    };
    crowd("ipc_channel", setup, (1, ITEMS / 4), || Ok(bytes_channel()?), put, take)
}

const PYTHON: &str = "\
import os
from multiprocessing import Process, Queue
queue = Queue()
item = b'7' * 64
total = n // 10 + n
def produce():
    os.sched_setaffinity(0, [CPU_A])
    for _ in range(total):
        queue.put(item)
os.sched_setaffinity(0, [CPU_B])
Process(target=produce, daemon=True).start()";

fn python(setup: &Setup) -> Option<Contestant> {
    let prepare = PYTHON.replace("CPU_A", &setup.cpus.list(setup.placement, 0));
    let prepare = prepare.replace("CPU_B", &setup.cpus.list(setup.placement, 1));
    let mut in_micros = python::contestant_in_micros(setup, prepare, "queue.get()", ITEMS_OF_PYTHON)?;
    Some(Contestant::new("python", move || Ok((in_micros.sample)()? * 1e3)))
}

/// The same bytes as a value of eight numbers.
fn values(setup: &Setup) -> Result<Vec<Contestant>> {
    type Values = Queue<[u64; 8]>;
    let put = |queue: &Values, times: u64| -> Result<()> {
        (0..times).try_for_each(|number| Ok(queue.put(black_box(&[number; 8]))?))
    };
    let take = |queue: &Values, times: u64| -> Result<()> {
        (0..times).try_for_each(|number| {
            ensure!(queue.get()? == [number; 8], "a value was changed on its way");
            Ok(())
        })
    };
    Ok(vec![crowd("ours", setup, (1, ITEMS), || Ok(Queue::new()?), put, take)])
}

fn many(setup: &Setup, pairs: u64) -> Contestant {
    let put = |queue: &Queue<()>, times: u64| -> Result<()> {
        let items = [[7; BYTES]; BATCH];
        (0..times / BATCH as u64).try_for_each(|_| Ok(queue.put_many_bytes(black_box(&items))?))
    };
    let take = |queue: &Queue<()>, times: u64| -> Result<()> {
        let mut left = usize::try_from(times)?;
        while left > 0 {
            let mut batch = queue.get_many(left.min(BATCH))?;
            while let Some(item) = batch.next_bytes() {
                black_box(item);
                left -= 1;
            }
        }
        Ok(())
    };
    crowd("ours", setup, (pairs, ITEMS * 4), || Ok(Queue::bounded_bytes(RING_BYTES)?), put, take)
}

fn batches(setup: &Setup) -> Result<Vec<Contestant>> {
    Ok(vec![many(setup, 1)])
}

fn batches_four_by_four(setup: &Setup) -> Result<Vec<Contestant>> {
    Ok(vec![many(setup, 4)])
}

fn ours_large(setup: &Setup, pairs: u64) -> Contestant {
    let make = || Ok(Queue::bounded_bytes(RING_BYTES)?);
    crowd("ours", setup, (pairs, LARGE_ITEMS), make, put_bytes::<LARGE_BYTES>, take_bytes::<LARGE_BYTES>)
}

fn large(setup: &Setup) -> Result<Vec<Contestant>> {
    Ok(vec![ours_large(setup, 1), two_copies(setup)?])
}

fn large_four_by_four(setup: &Setup) -> Result<Vec<Contestant>> {
    Ok(vec![ours_large(setup, 4), two_copies(setup)?])
}

/// Copies into one place of a ring and out of it again, then into the next place, in one process.
fn two_copies(setup: &Setup) -> Result<Contestant> {
    let places = (0..RING_BYTES / LARGE_BYTES).map(|_| RawMapping::new(LARGE_BYTES / 8));
    let ring = places.collect::<Result<Vec<_>>>()?;
    let (source, mut target) = (vec![7_f64; LARGE_BYTES / 8], vec![0_f64; LARGE_BYTES / 8]);
    let times = setup.scale.of(LARGE_ITEMS);
    let setup_error = "the mapping is as long as the item";
    Ok(Contestant::timed("two_copies", times, move |times| {
        for place in ring.iter().cycle().take(usize::try_from(times).unwrap_or(usize::MAX)) {
            place.write(black_box(&source)).expect(setup_error);
            place.read_into(black_box(&mut target)).expect(setup_error);
        }
    }))
}

/// Two queues between two processes, each of which waits for the other: half a round trip.
fn wake_ups(setup: &Setup) -> Result<Vec<Contestant>> {
    let setup = setup.clone();
    let sample = move || {
        let times = setup.scale.of(ROUND_TRIPS);
        let (there, back) = (Queue::<u64>::new()?, Queue::<u64>::new()?);
        let nanos = children::together(&setup, 2, |index| {
            for number in 0..times {
                if index == 0 {
                    there.put(&number)?;
                    ensure!(back.get()? == number, "an answer to something else");
                } else {
                    back.put(&there.get()?)?;
                }
            }
            Ok(())
        })?;
        Ok(per_operation(nanos, times * 2))
    };
    Ok(vec![Contestant::new("ours", sample)])
}

/// A queue from which nothing is taken: the cost of a `put` when it holds ten million items, and when it holds a
/// thousand.
fn growth(setup: &Setup) -> Result<Vec<Contestant>> {
    let full = setup.scale.of(10_000_000);
    let filled_to = |name, count: u64| {
        Contestant::new(name, move || {
            let queue = Queue::<u64>::new()?;
            for number in 0..count {
                queue.put(&number)?;
            }
            let times = 100_000_u64.min(count * 100);
            let started = Instant::now();
            for number in 0..times {
                queue.put(black_box(&number))?;
            }
            let nanos = started.elapsed().as_secs_f64() * 1e9;
            ensure!(queue.len() == usize::try_from(count + times).context("too many")?, "items were lost");
            Ok(per_operation(nanos, times))
        })
    };
    Ok(vec![filled_to("ours", full), filled_to("at_1000", 1000)])
}

/// A task that is put, taken on lease, and done, compared with an item.
fn tasks(setup: &Setup) -> Result<Vec<Contestant>> {
    type Tasks = JoinableQueue<[u64; 8]>;
    let put = |queue: &Tasks, times: u64| -> Result<()> {
        (0..times).try_for_each(|number| Ok(queue.put(black_box(&[number; 8]))?))
    };
    let take = |queue: &Tasks, times: u64| -> Result<()> {
        (0..times).try_for_each(|number| {
            ensure!(queue.get()?.done() == [number; 8], "a task was changed on its way");
            Ok(())
        })
    };
    let ours = crowd("ours", setup, (1, ITEMS), || Ok(JoinableQueue::new()?), put, take);
    let queue = values(setup)?.pop().context("the other row has a contestant")?;
    Ok(vec![ours, Contestant { name: "queue", ..queue }])
}

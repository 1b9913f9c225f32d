//! The longest time for which one client keeps another one waiting.
//!
//! Each row measures the slowest of many small operations while another client does its worst.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use manager_rt::proto::{EventOp, ObjectId, Op, Raw, SemaphoreOp, Spec, Wait};
use manager_rt::{List, Manager};

use super::frames::Wire;
use super::{KEY, started};
use crate::row::{Contestant, Setup};

/// How long a flood of connections lasts.
const FLOOD: Duration = Duration::from_secs(1);
/// The time in which the server does what a client has left.
const REST: Duration = Duration::from_millis(500);
const FLOODERS: usize = 3;
const CLIENTS: u64 = 20;
const CALLS: u64 = 16_000;
const OBJECTS: u64 = 300_000;
const ITEMS: u64 = 1_000_000;
/// Items that are added at once.
const AT_ONCE: usize = 50_000;

/// Returns the slowest operation of another client, in milliseconds, while `attack` runs and for a while afterwards.
fn longest(manager: &Manager, attack: impl FnOnce() -> Result<()>) -> Result<f64> {
    let address = manager.address().context("a manager without an address")?;
    let bystander = Manager::builder().key(KEY).connect(&address)?;
    let value = bystander.value(&0_u64)?;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let slowest = scope.spawn(|| -> Result<f64> {
            let mut slowest = 0.0_f64;
            while !is_over.load(Ordering::Relaxed) {
                let started = Instant::now();
                value.get()?;
                slowest = slowest.max(started.elapsed().as_secs_f64() * 1e3);
            }
            Ok(slowest)
        });
        let done = attack();
        sleep(REST);
        is_over.store(true, Ordering::Relaxed);
        let slowest = slowest.join().map_err(|_| anyhow::anyhow!("the bystander panicked"))?;
        done.and(slowest)
    })
}

/// Measures one attack, with a manager of its own.
fn under(
    setup: &Setup,
    mut attack: impl FnMut(&Manager, &Setup) -> Result<f64> + 'static,
) -> Result<Vec<Contestant>> {
    let own = setup.clone();
    let manager = started(setup)?;
    Ok(vec![Contestant::new("ours", move || attack(&manager, &own))])
}

/// Threads that only connect.
pub(super) fn flood(setup: &Setup) -> Result<Vec<Contestant>> {
    under(setup, |manager, _| {
        let address = manager.address().context("a manager without an address")?;
        let path = address.strip_prefix("mp+unix:").context("an address of another kind")?.to_owned();
        longest(manager, || {
            let end = Instant::now() + FLOOD;
            std::thread::scope(|scope| {
                for _ in 0..FLOODERS {
                    scope.spawn(|| {
                        while Instant::now() < end {
                            drop(UnixStream::connect(&path));
                        }
                    });
                }
            });
            Ok(())
        })
    })
}

/// Makes thousands of calls of several clients wait for an object.
fn waiting(
    manager: &Manager,
    setup: &Setup,
    spec: Spec<Raw<'static>>,
    op: &Op<Raw<'static>>,
) -> Result<(Vec<Wire>, ObjectId, u64)> {
    let calls = setup.scale.of(CALLS);
    let mut clients = (0..CLIENTS).map(|_| Wire::connect(manager)).collect::<Result<Vec<_>>>()?;
    let first = clients.first_mut().context("no client")?;
    let object = first.make(spec)?;
    for client in &mut clients {
        for _ in 0..calls {
            client.queue(object, Wait::Forever, op.clone())?;
        }
        client.write()?;
    }
    while manager.info()?.waiters < CLIENTS * calls {
        std::thread::yield_now();
    }
    Ok((clients, object, CLIENTS * calls))
}

/// An event with 320,000 waiters is set.
pub(super) fn event(setup: &Setup) -> Result<Vec<Contestant>> {
    under(setup, |manager, setup| {
        let (_clients, event, _) = waiting(manager, setup, Spec::Event, &Op::Event(EventOp::Wait))?;
        let mut sets = Wire::connect(manager)?;
        longest(manager, || sets.ask(event, Op::Event(EventOp::Set)))
    })
}

/// A semaphore gets permits for 320,000 waiters.
pub(super) fn semaphore(setup: &Setup) -> Result<Vec<Contestant>> {
    under(setup, |manager, setup| {
        let acquire = Op::Semaphore(SemaphoreOp::Acquire);
        let (_clients, semaphore, count) = waiting(manager, setup, Spec::Semaphore(0), &acquire)?;
        let mut adds = Wire::connect(manager)?;
        longest(manager, || adds.ask(semaphore, Op::Semaphore(SemaphoreOp::Add(count))))
    })
}

/// A client with 300,000 objects ends.
pub(super) fn end(setup: &Setup) -> Result<Vec<Contestant>> {
    under(setup, |manager, setup| {
        let mut client = Wire::connect(manager)?;
        for _ in 0..setup.scale.of(OBJECTS) {
            client.make(Spec::Event)?;
        }
        longest(manager, || {
            drop(client);
            Ok(())
        })
    })
}

fn long_list(manager: &Manager, setup: &Setup) -> Result<List<u64>> {
    let list = manager.list()?;
    let items: Vec<u64> = (0..setup.scale.of(ITEMS)).rev().collect();
    for some in items.chunks(AT_ONCE) {
        list.extend(some)?;
    }
    Ok(list)
}

/// A million items are searched, again and again.
pub(super) fn search(setup: &Setup) -> Result<Vec<Contestant>> {
    under(setup, |manager, setup| {
        let list = long_list(manager, setup)?;
        longest(manager, || (0..50).try_for_each(|_| Ok(list.index_of(&u64::MAX).map(drop)?)))
    })
}

/// A list of a million items is sorted, copied into an array, and cleared.
pub(super) fn sort(setup: &Setup) -> Result<Vec<Contestant>> {
    under(setup, |manager, setup| {
        let list = long_list(manager, setup)?;
        longest(manager, || {
            list.sort()?;
            let array = manager.array(&list.to_vec()?)?;
            list.clear()?;
            drop(array);
            Ok(())
        })
    })
}

//! Queues in RabbitMQ beside the crate `lapin`, which does the same on connections of its own.
//!
//! | contestant | what it does |
//! |---|---|
//! | ours | the proxy of a queue |
//! | `bare` | a confirmed `basic.publish`, a `basic.get`, and an acknowledgement without an answer, as ours on the same type of queue |
//! | `consumer` | the same with a consumer, to which RabbitMQ sends one message in advance |
//! | `single` | ours, one item after another |
//!
//! Items have 8 bytes.

use anyhow::{Result, ensure};
use manager_rt::{JoinableQueue, Manager, Queue};

use super::rabbitmq::{Bare, RabbitMq};
use super::round_trips::{VALUE, repeated};
use crate::row::{Contestant, Setup};

const ROUND_TRIPS: u64 = 1_000;
/// The items of a batch.
const BATCH: usize = 32;

/// Both ways to use `lapin`.
fn rivals(setup: &Setup, rabbit: &RabbitMq, kind: &str) -> Result<Vec<Contestant>> {
    let times = setup.scale.of(ROUND_TRIPS);
    let mut rivals = Vec::new();
    for (name, consumes) in [("bare", false), ("consumer", true)] {
        let mut bare = Bare::new(&rabbit.url(), name, kind, consumes)?;
        rivals.push(repeated(name, times, move || bare.pass(&VALUE)));
    }
    Ok(rivals)
}

pub(super) fn item(setup: &Setup) -> Result<Vec<Contestant>> {
    let rabbit = RabbitMq::start()?;
    let manager = Manager::connect(&rabbit.url())?;
    let items: Queue<[u8; 8]> = manager.queue()?;
    let rivals = rivals(setup, &rabbit, "classic")?;
    let ours = repeated("ours", setup.scale.of(ROUND_TRIPS), move || {
        let _kept = (&rabbit, &manager);
        items.put(&VALUE)?;
        ensure!(items.get()? == VALUE, "another item");
        Ok(())
    });
    Ok([ours].into_iter().chain(rivals).collect())
}

pub(super) fn task(setup: &Setup) -> Result<Vec<Contestant>> {
    let rabbit = RabbitMq::start()?;
    let manager = Manager::connect(&rabbit.url())?;
    let tasks: JoinableQueue<[u8; 8]> = manager.joinable_queue()?;
    let rivals = rivals(setup, &rabbit, "quorum")?;
    let ours = repeated("ours", setup.scale.of(ROUND_TRIPS), move || {
        let _kept = (&rabbit, &manager);
        tasks.put(&VALUE)?;
        tasks.get()?.done()?;
        Ok(())
    });
    Ok([ours].into_iter().chain(rivals).collect())
}

/// The time of a batch.
pub(super) fn put_many(setup: &Setup) -> Result<Vec<Contestant>> {
    let rabbit = RabbitMq::start()?;
    let manager = Manager::connect(&rabbit.url())?;
    let items: [Queue<[u8; 8]>; 2] = [manager.queue()?, manager.queue()?];
    let times = setup.scale.of(ROUND_TRIPS / 10);
    let [many, one] = items;
    let ours = repeated("ours", times, move || {
        let _kept = (&rabbit, &manager);
        Ok(many.put_many(&[VALUE; BATCH])?)
    });
    let single = repeated("single", times, move || {
        (0..BATCH).try_for_each(|_| one.put(&VALUE))?;
        Ok(())
    });
    Ok(vec![ours, single])
}

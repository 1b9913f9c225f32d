//! Queues in RabbitMQ.
//!
//! | contestant | what it does |
//! |---|---|
//! | ours | the proxy of a queue |
//! | `single` | ours, one item after another |
//!
//! Items have 8 bytes.

use anyhow::Result;
use manager_rt::{Manager, Queue};

use super::rabbitmq::RabbitMq;
use super::round_trips::{VALUE, repeated};
use crate::row::{Contestant, Setup};

const ROUND_TRIPS: u64 = 1_000;
/// The items of a batch.
const BATCH: usize = 32;

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

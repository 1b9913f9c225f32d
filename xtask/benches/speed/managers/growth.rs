//! The cost of one more item when there are many already.
//!
//! Operations are sent one after the other, as a proxy does. In the rows `…_pipelined` sixteen are sent at a time, so
//! that the round trip hides less. The slowest operation is sought among all those that make an object grow. The figure
//! is the time of the slowest sixteen, which no single operation exceeds.

use std::time::Instant;

use anyhow::Result;
use manager_rt::Manager;
use manager_rt::proto::{DictOp, ListOp, ObjectId, Op, QueueOp, Raw, Spec, Wait};

use super::frames::Wire;
use super::round_trips::VALUE;
use super::started;
use crate::row::{Contestant, Setup, per_operation};

/// Operations in transit at the same time.
const PIPELINED: u64 = 16;
const FULL: u64 = 10_000_000;
/// Items that one sample of the slowest operation adds: eleven samples make the object as large as [`FULL`].
const ADDED: u64 = 1_000_000;
const BATCH: u64 = 4_000;
const OPERATIONS: u64 = 48_000;

/// A kind of object that grows.
#[derive(Clone, Copy)]
struct Growing {
    spec: fn() -> Spec<Raw<'static>>,
    /// Makes the operation that adds one item.
    one: for<'a> fn(&'a [u8; 8]) -> Op<Raw<'a>>,
    /// Makes the operation that adds many items.
    many: for<'a> fn(&'a [[u8; 8]]) -> Op<Raw<'a>>,
}

const LIST: Growing = Growing {
    spec: || Spec::List,
    one: |number| Op::List(ListOp::Push(Raw::plain(number))),
    many: |numbers| Op::List(ListOp::Extend(numbers.iter().map(|number| Raw::plain(number)).collect())),
};
const DICT: Growing = Growing {
    spec: || Spec::Dict,
    one: |number| Op::Dict(DictOp::Store(Raw::plain(number), Raw::plain(&VALUE))),
    many: |numbers| {
        let entries = numbers.iter().map(|number| (Raw::plain(number), Raw::plain(&VALUE)));
        Op::Dict(DictOp::Extend(entries.collect()))
    },
};
const QUEUE: Growing = Growing {
    spec: || Spec::Queue(0),
    one: |number| Op::Queue(QueueOp::Put(Raw::plain(number))),
    many: |numbers| Op::Queue(QueueOp::PutMany(numbers.iter().map(|number| Raw::plain(number)).collect())),
};

/// One growing object.
struct Object {
    kind: Growing,
    id: ObjectId,
    len: u64,
}

impl Object {
    fn new(kind: Growing, wire: &mut Wire) -> Result<Self> {
        Ok(Self { kind, id: wire.make((kind.spec)())?, len: 0 })
    }

    fn fill(&mut self, wire: &mut Wire, until: u64) -> Result<()> {
        while self.len < until {
            let end = (self.len + BATCH).min(until);
            let numbers: Vec<[u8; 8]> = (self.len..end).map(u64::to_le_bytes).collect();
            wire.ask(self.id, (self.kind.many)(&numbers))?;
            self.len = end;
        }
        Ok(())
    }

    /// Adds items one by one; returns the nanoseconds of all, and of the slowest few.
    fn add(&mut self, wire: &mut Wire, count: u64, at_once: u64) -> Result<(f64, f64)> {
        let (mut all, mut slowest) = (0.0, 0.0_f64);
        for _ in 0..count / at_once {
            for number in self.len..self.len + at_once {
                wire.queue(self.id, Wait::No, (self.kind.one)(&number.to_le_bytes()))?;
            }
            self.len += at_once;
            let started = Instant::now();
            wire.write()?;
            (0..at_once).try_for_each(|_| wire.answer())?;
            let nanos = started.elapsed().as_secs_f64() * 1e9;
            all += nanos;
            slowest = slowest.max(nanos);
        }
        Ok((all, slowest))
    }
}

fn server(setup: &Setup) -> Result<(Manager, Wire)> {
    let manager = started(setup)?;
    let wire = Wire::connect(&manager)?;
    Ok((manager, wire))
}

/// Measures nanoseconds per operation at ten million items, at a hundred thousand, and at a thousand.
fn growing(setup: &Setup, kind: Growing, at_once: u64) -> Result<Vec<Contestant>> {
    let times = setup.scale.of(OPERATIONS);
    let (manager, mut wire) = server(setup)?;
    let mut full = Object::new(kind, &mut wire)?;
    full.fill(&mut wire, setup.scale.of(FULL))?;
    let ours = Contestant::new("ours", move || {
        let _kept = &manager;
        Ok(per_operation(full.add(&mut wire, times, at_once)?.0, times))
    });
    let at = |name, len, each| {
        let setup = setup.clone();
        Contestant::new(name, move || {
            // A fresh server, which is not busy cleaning up what ended before.
            let (manager, mut wire) = server(&setup)?;
            let mut nanos = 0.0;
            for _ in 0..times / each {
                let mut object = Object::new(kind, &mut wire)?;
                object.fill(&mut wire, len)?;
                nanos += object.add(&mut wire, each, at_once)?.0;
            }
            manager.shutdown()?;
            Ok(per_operation(nanos, times / each * each))
        })
    };
    Ok(vec![ours, at("at_100000", 100_000, times), at("at_1000", 1_000, 1_200)])
}

/// Measures the slowest operation while the object grows, in milliseconds.
fn slowest(setup: &Setup, kind: Growing) -> Result<Vec<Contestant>> {
    let count = setup.scale.of(ADDED);
    let (manager, mut wire) = server(setup)?;
    let mut object = Object::new(kind, &mut wire)?;
    Ok(vec![Contestant::new("ours", move || {
        let _kept = &manager;
        Ok(object.add(&mut wire, count, PIPELINED)?.1 / 1e6)
    })])
}

pub(super) fn list(setup: &Setup) -> Result<Vec<Contestant>> {
    growing(setup, LIST, 1)
}

pub(super) fn dict(setup: &Setup) -> Result<Vec<Contestant>> {
    growing(setup, DICT, 1)
}

pub(super) fn dict_pipelined(setup: &Setup) -> Result<Vec<Contestant>> {
    growing(setup, DICT, PIPELINED)
}

pub(super) fn queue(setup: &Setup) -> Result<Vec<Contestant>> {
    growing(setup, QUEUE, 1)
}

pub(super) fn list_slowest(setup: &Setup) -> Result<Vec<Contestant>> {
    slowest(setup, LIST)
}

pub(super) fn dict_slowest(setup: &Setup) -> Result<Vec<Contestant>> {
    slowest(setup, DICT)
}

pub(super) fn queue_slowest(setup: &Setup) -> Result<Vec<Contestant>> {
    slowest(setup, QUEUE)
}

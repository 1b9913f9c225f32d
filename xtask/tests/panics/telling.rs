//! Subscribers of `tracing` that panic: an event under a lock of the library is reported once the lock is free again.
//!
//! A filter of system calls causes the events. It stays for the cell's process and its children.

use mp::{Array, Queue, Value};
use mp_sys::testing::{Argument, FALLOCATE, FCNTL, MADVISE, refuse};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::cell::{Beside, HANG, Outcome, contended, define_cells};
use crate::trap::{Trap, spring};

define_cells! {
    "tracing", "an object is made", object;
    "tracing", "a queue is made, sent and arrives", travelling;
    "tracing", "a queue keeps memory", queue;
}

const F_ADD_SEALS: u32 = 1033;
const PUNCH_HOLE: u32 = 2;
const DONT_DUMP: u32 = 16;
const EPERM: i32 = 1;

/// More than a shared chunk holds, so each object has its own chunk.
const LARGE: usize = 1 << 20;

struct Panics;

impl Subscriber for Panics {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        spring(Trap::Event);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn told<O: Sync>(
    call: std::ffi::c_long,
    argument: Argument,
    make: impl FnOnce() -> O,
    turn: impl Fn(&O) -> bool + Sync,
    entry: impl Fn(&O),
) -> Outcome {
    tracing::subscriber::set_global_default(Panics).unwrap();
    refuse(call, &[argument], EPERM).unwrap();
    contended(Beside::ProcessAndThread, make, &turn, Trap::Event, entry, &turn)
}

/// A chunk that cannot be sealed causes an event, and chunks are made under the arena's lock.
fn object() -> Outcome {
    let makes = |value: &Value<u64>| {
        value.update(|number| number + 1).is_ok()
            && Array::<u8>::zeroed(LARGE).is_ok_and(|array| array.set(7, 1).is_ok() && array.get(7) == Ok(1))
    };
    let entry = |value: &Value<u64>| (0..4).for_each(|_| assert!(makes(value)));
    told(FCNTL, Argument::Is(1, F_ADD_SEALS), || Value::new(0).unwrap(), makes, entry)
}

/// A process that maps a queue reports it if the memory stays in core dumps, while the list of all queues is locked.
fn travelling() -> Outcome {
    let send = |_: &()| {
        let (sender, receiver) = mp::pipe::<Queue<u32>>().unwrap();
        // The handle of its maker is gone when the queue arrives, so it is mapped again.
        sender.send(&Queue::new().unwrap()).is_ok()
            && receiver.recv_timeout(HANG).is_ok_and(|queue| queue.put(&7).is_ok() && queue.get() == Ok(7))
    };
    let entry = |all: &()| (0..2).for_each(|_| assert!(send(all)));
    told(MADVISE, Argument::Is(2, DONT_DUMP), || (), send, entry)
}

/// Under its locks, the queue finds out that memory cannot be returned.
fn queue() -> Outcome {
    let item = vec![7_u8; LARGE];
    let turn = |queue: &Queue<u8>| queue.put_bytes(&[1]).is_ok() && queue.get_bytes().is_ok();
    let entry = |queue: &Queue<u8>| {
        for _ in 0..64 {
            queue.put_bytes(&item).unwrap();
        }
        for _ in 0..64 {
            drop(queue.get_bytes().unwrap());
        }
    };
    told(FALLOCATE, Argument::Has(1, PUNCH_HOLE), || Queue::new().unwrap(), turn, entry)
}

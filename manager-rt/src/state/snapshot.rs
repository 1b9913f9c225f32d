//! What of a manager survives a restart of its server: the objects, in a form that can be written to a file.
//!
//! Only objects with a name are saved, and those to which their values refer, directly or not. Ids stay the same, because the
//! values contain them, and no id is used again. What clients held and what they waited for is not saved: after a restart, all
//! of them have ended.
//!
//! | object | what is restored |
//! |---|---|
//! | list, dict, namespace, value, array | everything |
//! | queue | the items, its limit, and whether it is closed |
//! | queue of tasks | the same, the failed tasks, and the tasks that were in work: they are first in the queue, or have failed if they were delivered as often as they may be |
//! | lock, reentrant lock | free; if it was held, the next holder hears that the last one did not release it. Tokens go on growing |
//! | semaphore | all permits are free, apart from those that were on their way between two processes |
//! | condition | no callers wait |
//! | event | the flag |
//! | barrier | nobody has a place; it is broken if it was |
//!
//! # The format
//! A head, and then [blocks](blocks), each with a checksum. Together, the blocks contain, with all numbers in little-endian
//! order: a number above the ids of all objects so far (u64), the objects, each after a byte 1, then a byte 0, and the number of
//! objects (u64). `write` and `read` describe one object each in the same order.

mod blocks;
mod calls;
pub(crate) mod fuzz;
mod read;
mod write;

use crate::proto::Kind;

/// The kinds in the order of their numbers in a file.
const KINDS: [Kind; 14] = [
    Kind::List,
    Kind::Dict,
    Kind::Namespace,
    Kind::Value,
    Kind::Array,
    Kind::Queue,
    Kind::JoinableQueue,
    Kind::Lock,
    Kind::RLock,
    Kind::Semaphore,
    Kind::BoundedSemaphore,
    Kind::Condition,
    Kind::Event,
    Kind::Barrier,
];
/// The byte before an object.
const OBJECT: u8 = 1;
/// The byte after the last object.
const END: u8 = 0;

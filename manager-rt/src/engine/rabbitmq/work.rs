//! [`Work`]: an operation of a queue, with its items as they are stored.
//!
//! The work of an async task outlives the call that has begun it. So it owns what it needs.

use super::frame::HEAD_BYTES_MAX;
use crate::backend::CallError;
use crate::count::count_of;
use crate::engine::stored::parts_of;
use crate::limits::VALUES_AT_ONCE_MAX;
use crate::proto::{Fault, JoinableQueueOp, Kind, Op, QueueOp, Raw};

/// About how many bytes of items are put together. RabbitMQ confirms them within the time for an answer.
const TOGETHER_BYTES: usize = 1 << 20;
/// The most items that are put together, so that the head of a frame has room for their lengths, of at most 10 bytes each.
const TOGETHER_ITEMS_MAX: usize = 4_096;
const _: () = assert!(TOGETHER_ITEMS_MAX * 10 < HEAD_BYTES_MAX);

/// What is to be done with a queue.
#[derive(Debug)]
pub(super) enum Work {
    /// To put items, of which some are put together.
    Put(Vec<Batch>),
    /// To take something.
    Get(What),
    /// To end a lease.
    Settle {
        lease: u64,
        is_done: bool,
    },
    Len,
    Capacity,
    IsClosed,
    Failed {
        at: u64,
        take: bool,
    },
    /// What RabbitMQ cannot do.
    Lacks(&'static str),
}

/// What is taken.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    Item,
    /// At most so many items.
    Items(u64),
    Task,
}

/// Stored items, one behind the other, and their lengths.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) lens: Vec<u64>,
}

impl Work {
    /// Returns the work of an operation, and the kind of its queue.
    ///
    /// # Errors
    /// [`Fault::TooLarge`], [`Fault::TooMany`], [`Fault::OutOfRange`]; [`Fault::Unsupported`] for an operation of another kind.
    pub(super) fn of(op: Op<Raw<'_>>) -> Result<(Kind, Self), CallError> {
        Ok(match op {
            Op::Queue(op) => (Kind::Queue, Self::of_queue(op)?),
            Op::JoinableQueue(op) => (Kind::JoinableQueue, Self::of_tasks(op)?),
            _ => return Err(Fault::Unsupported.into()),
        })
    }

    fn of_queue(op: QueueOp<Raw<'_>>) -> Result<Self, CallError> {
        Ok(match op {
            QueueOp::Put(item) => Self::put(&[item])?,
            QueueOp::PutMany(items) => Self::put(&items)?,
            QueueOp::Get => Self::Get(What::Item),
            QueueOp::GetMany(0) => return Err(Fault::OutOfRange { least: 1, most: u64::MAX }.into()),
            QueueOp::GetMany(max) => Self::Get(What::Items(max)),
            QueueOp::Len => Self::Len,
            QueueOp::Capacity => Self::Capacity,
            QueueOp::Close => Self::Lacks("closing"),
            QueueOp::IsClosed => Self::IsClosed,
        })
    }

    fn of_tasks(op: JoinableQueueOp<Raw<'_>>) -> Result<Self, CallError> {
        Ok(match op {
            JoinableQueueOp::Put(task) => Self::put(&[task])?,
            JoinableQueueOp::PutMany(tasks) => Self::put(&tasks)?,
            JoinableQueueOp::Get => Self::Get(What::Task),
            JoinableQueueOp::Done { lease } => Self::Settle { lease, is_done: true },
            JoinableQueueOp::Requeue { lease } => Self::Settle { lease, is_done: false },
            JoinableQueueOp::Len => Self::Len,
            JoinableQueueOp::Capacity => Self::Capacity,
            JoinableQueueOp::Unfinished => Self::Lacks("counting unfinished tasks"),
            JoinableQueueOp::Join => Self::Lacks("waiting for the end of all tasks"),
            JoinableQueueOp::Failed { at, take } => Self::Failed { at, take },
            JoinableQueueOp::Close => Self::Lacks("closing"),
            JoinableQueueOp::IsClosed => Self::IsClosed,
        })
    }

    fn put(items: &[Raw<'_>]) -> Result<Self, CallError> {
        if items.len() > VALUES_AT_ONCE_MAX {
            return Err(Fault::TooMany { limit: count_of(VALUES_AT_ONCE_MAX) }.into());
        }
        let mut all: Vec<Batch> = Vec::new();
        for item in items {
            let (mut len, is_first) = ([0; 4], all.is_empty());
            let parts = parts_of(*item, &mut len);
            let bytes: usize = parts.iter().map(|part| part.len()).sum();
            if bytes > super::ITEM_BYTES_MAX {
                return Err(Fault::TooLarge { limit: count_of(super::ITEM_BYTES_MAX) }.into());
            }
            if is_first || all.last().is_some_and(|batch| !batch.has_room(bytes)) {
                all.push(Batch::default());
            }
            if let Some(batch) = all.last_mut() {
                parts.iter().for_each(|part| batch.bytes.extend_from_slice(part));
                batch.lens.push(count_of(bytes));
            }
        }
        Ok(Self::Put(all))
    }
}

impl Batch {
    fn has_room(&self, bytes: usize) -> bool {
        self.lens.len() < TOGETHER_ITEMS_MAX && self.bytes.len().saturating_add(bytes) <= TOGETHER_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(items: &[Raw<'_>]) -> Vec<usize> {
        let Ok(Work::Put(batches)) = Work::put(items) else { panic!("too many or too long") };
        batches.iter().map(|batch| batch.lens.len()).collect()
    }

    #[test]
    fn items_are_put_together_up_to_the_limits_and_one_above_is_not() {
        // A mark stands before each item.
        let half = vec![0; TOGETHER_BYTES / 2 - 1];
        let (half, none) = (Raw::plain(&half), Raw::plain(b""));
        assert_eq!(batches(&[]), [0; 0]);
        assert_eq!(batches(&[half, half]), [2]);
        assert_eq!(batches(&[half, half, none]), [2, 1]);
        let long = vec![0; 2 * TOGETHER_BYTES];
        assert_eq!(batches(&[none, Raw::plain(&long), none]), [1, 1, 1]);
        assert_eq!(batches(&vec![none; TOGETHER_ITEMS_MAX]), [TOGETHER_ITEMS_MAX]);
        assert_eq!(batches(&vec![none; TOGETHER_ITEMS_MAX + 1]), [TOGETHER_ITEMS_MAX, 1]);
    }

    #[test]
    fn items_at_the_limits_and_one_above() {
        let longest = vec![0; super::super::ITEM_BYTES_MAX - 1];
        assert_eq!(batches(&[Raw::plain(&longest)]), [1]);
        let longer = vec![0; super::super::ITEM_BYTES_MAX];
        assert!(Work::put(&[Raw::plain(&longer)]).is_err());
        let none = Raw::plain(b"");
        assert_eq!(batches(&vec![none; VALUES_AT_ONCE_MAX]).iter().sum::<usize>(), VALUES_AT_ONCE_MAX);
        assert!(Work::put(&vec![none; VALUES_AT_ONCE_MAX + 1]).is_err());
    }
}

//! The operations of queues.

use super::definition::Definition;
use super::frame::{Answer, Ask, Refusal, items_in};
use super::{RabbitMq, refused};
use crate::backend::{Backend, CallError};
use crate::count::count_of;
use crate::engine::stored::{loaded, parts_of};
use crate::limits::{CAPACITY_MAX, VALUES_AT_ONCE_MAX};
use crate::proto::{Fault, JoinableQueueOp, Kind, ObjectId, Payload, QueueOp, Raw, Reply, Wait};

/// How often a call takes something at most that the keeper does not live to acknowledge.
const ATTEMPTS_MAX: usize = 3;
/// About how many bytes of items are put together. RabbitMQ confirms them within the time for an answer.
const TOGETHER_BYTES: usize = 1 << 20;
/// The most items that are put together, so that the head of a frame has room for their lengths.
const TOGETHER_ITEMS_MAX: usize = 4_096;

/// Checks the numbers of a new queue.
///
/// # Errors
/// [`Fault::OutOfRange`].
pub(super) fn check(capacity: u64, max_deliveries: u32) -> Result<(), Fault> {
    if capacity > CAPACITY_MAX {
        return Err(Fault::OutOfRange { least: 0, most: CAPACITY_MAX });
    }
    if max_deliveries == 0 {
        return Err(Fault::OutOfRange { least: 1, most: u32::MAX.into() });
    }
    Ok(())
}

impl RabbitMq {
    pub(super) fn queue(
        &self,
        object: ObjectId,
        op: QueueOp<Raw<'_>>,
        wait: Wait,
    ) -> Result<Reply<Payload>, CallError> {
        let definition = self.definition_of(object, Kind::Queue)?;
        match op {
            QueueOp::Put(item) => self.put(&definition, &[item], wait),
            QueueOp::PutMany(items) => self.put_many(&definition, &items, wait),
            QueueOp::Get => self.get(&definition, Some(1), wait),
            QueueOp::GetMany(0) => Err(Fault::OutOfRange { least: 1, most: u64::MAX }.into()),
            QueueOp::GetMany(max) => match self.get(&definition, Some(max), wait)? {
                // One item is an answer of its own kind.
                Reply::Value(item) => Ok(Reply::Values { values: vec![item], version: 0 }),
                reply => Ok(reply),
            },
            QueueOp::Len => self.len(&definition),
            QueueOp::Capacity => Ok(Reply::Count(definition.capacity)),
            QueueOp::Close => self.lacks(Kind::Queue, "closing"),
            QueueOp::IsClosed => Ok(Reply::Bool(false)),
        }
    }

    pub(super) fn tasks(
        &self,
        object: ObjectId,
        op: JoinableQueueOp<Raw<'_>>,
        wait: Wait,
    ) -> Result<Reply<Payload>, CallError> {
        let kind = Kind::JoinableQueue;
        let definition = self.definition_of(object, kind)?;
        match op {
            JoinableQueueOp::Put(task) => self.put(&definition, &[task], wait),
            JoinableQueueOp::PutMany(tasks) => self.put_many(&definition, &tasks, wait),
            JoinableQueueOp::Get => self.get(&definition, None, wait),
            JoinableQueueOp::Done { lease } => self.settle(lease, true),
            JoinableQueueOp::Requeue { lease } => self.settle(lease, false),
            JoinableQueueOp::Len => self.len(&definition),
            JoinableQueueOp::Capacity => Ok(Reply::Count(definition.capacity)),
            JoinableQueueOp::Unfinished => self.lacks(kind, "counting unfinished tasks"),
            JoinableQueueOp::Join => self.lacks(kind, "waiting for the end of all tasks"),
            JoinableQueueOp::Failed { at, take } => self.failed(&definition, at, take),
            JoinableQueueOp::Close => self.lacks(kind, "closing"),
            JoinableQueueOp::IsClosed => Ok(Reply::Bool(false)),
        }
    }

    fn definition_of(&self, object: ObjectId, kind: Kind) -> Result<std::sync::Arc<Definition>, CallError> {
        let definition = self.definition(object)?;
        let found = definition.kind();
        if found == kind { Ok(definition) } else { Err(Fault::WrongKind { found }.into()) }
    }

    fn lacks(&self, kind: Kind, what: &'static str) -> Result<Reply<Payload>, CallError> {
        Err(CallError::unsupported(&self.caps(), kind, what))
    }

    /// Puts items, some at a time. If some were put, and others were not, that is not known.
    fn put_many(
        &self,
        definition: &Definition,
        items: &[Raw<'_>],
        wait: Wait,
    ) -> Result<Reply<Payload>, CallError> {
        if items.len() > VALUES_AT_ONCE_MAX {
            return Err(Fault::TooMany { limit: count_of(VALUES_AT_ONCE_MAX) }.into());
        }
        let most = if definition.capacity == 0 { CAPACITY_MAX } else { definition.capacity };
        if count_of(items.len()) > most {
            return Err(Fault::OutOfRange { least: 0, most }.into());
        }
        if items.iter().any(|item| is_too_long(item)) {
            return Err(too_large());
        }
        let mut rest = items;
        while !rest.is_empty() {
            let (some, later) = rest.split_at(together(rest));
            let put = self.put(definition, some, wait);
            put.map_err(|error| if rest.len() == items.len() { error } else { CallError::OutcomeUnknown })?;
            rest = later;
        }
        Ok(Reply::Done)
    }

    fn put(
        &self,
        definition: &Definition,
        items: &[Raw<'_>],
        wait: Wait,
    ) -> Result<Reply<Payload>, CallError> {
        let (queue, has_limit) = (self.names.queue(definition), definition.capacity > 0);
        let (mut bytes, mut lens) = (Vec::new(), Vec::with_capacity(items.len()));
        for item in items {
            if is_too_long(item) {
                return Err(too_large());
            }
            let before = bytes.len();
            parts_of(*item, &mut [0; 4]).iter().for_each(|part| bytes.extend_from_slice(part));
            lens.push(count_of(bytes.len().saturating_sub(before)));
        }
        let ask = |wait| Ask::Put { queue: queue.clone(), has_limit, wait, lens: lens.clone() };
        let heard = self.converse(ask, &bytes, wait)?;
        let answer = heard.answer.clone();
        heard.end();
        match answer {
            Answer::Done => Ok(Reply::Done),
            Answer::Refused(Refusal::Full) if wait != Wait::No => Err(Fault::TimedOut.into()),
            answer => Err(refused(&answer)),
        }
    }

    /// Takes items, or a task. Says that they were read, or takes others: those that the keeper did not acknowledge return.
    fn get(
        &self,
        definition: &Definition,
        max: Option<u64>,
        wait: Wait,
    ) -> Result<Reply<Payload>, CallError> {
        let queue = self.names.queue(definition);
        for _ in 0..ATTEMPTS_MAX {
            let mut heard = self.converse(|wait| Ask::Get { queue: queue.clone(), max, wait }, &[], wait)?;
            let reply = match &heard.answer {
                Answer::Refused(refusal) => {
                    let error = match refusal {
                        Refusal::Empty if wait != Wait::No => Fault::TimedOut.into(),
                        refusal => (*refusal).into(),
                    };
                    heard.end();
                    return Err(error);
                }
                Answer::Task { lease, deliveries } => {
                    let (lease, deliveries) = (*lease, *deliveries);
                    loaded(std::mem::take(&mut heard.items)).map(|task| Reply::Leased {
                        lease,
                        deliveries,
                        task,
                    })
                }
                Answer::Items { lens, has_more: false } => {
                    values_in(&heard.items, lens).map(|mut values| match values.pop() {
                        Some(one) if values.is_empty() => Reply::Value(one),
                        last => {
                            Reply::Values { values: values.into_iter().chain(last).collect(), version: 0 }
                        }
                    })
                }
                _ => Err(CallError::Protocol),
            };
            if heard.was_read().is_ok() {
                heard.end();
                return reply;
            }
        }
        Err(CallError::ServerGone)
    }

    fn settle(&self, lease: u64, is_done: bool) -> Result<Reply<Payload>, CallError> {
        match self.ask(&Ask::Settle { lease, is_done }, Wait::No)? {
            Answer::Done => Ok(Reply::Done),
            answer => Err(refused(&answer)),
        }
    }

    fn len(&self, definition: &Definition) -> Result<Reply<Payload>, CallError> {
        match self.ask(&Ask::Len { queue: self.names.queue(definition) }, Wait::No)? {
            Answer::Count(count) => Ok(Reply::Count(count)),
            answer => Err(refused(&answer)),
        }
    }

    /// Returns failed tasks. Those that stay have no numbers by which a later call could go on, so the first call returns all.
    fn failed(&self, definition: &Definition, at: u64, take: bool) -> Result<Reply<Payload>, CallError> {
        if at > 0 && !take {
            return Ok(Reply::Values { values: Vec::new(), version: at });
        }
        let queue = self.names.failed(definition.id);
        let mut heard = self.converse(|_| Ask::Failed { queue: queue.clone(), take }, &[], Wait::No)?;
        let mut found = Vec::new();
        loop {
            let Answer::Items { lens, has_more } = &heard.answer else {
                let error = refused(&heard.answer);
                heard.end();
                return Err(error);
            };
            found.append(&mut values_in(&heard.items, lens)?);
            if !has_more {
                break;
            }
            heard.next()?;
        }
        if !found.is_empty() {
            heard.was_read()?;
        }
        heard.end();
        let version = at.saturating_add(count_of(found.len()));
        Ok(Reply::Values { values: found, version })
    }
}

/// Returns the values that lie one behind the other.
fn values_in(items: &[u8], lens: &[u64]) -> Result<Vec<Payload>, CallError> {
    items_in(items, lens)?.into_iter().map(|item| loaded(item.to_vec())).collect()
}

/// Returns how many of these items are put together: at least one.
fn together(items: &[Raw<'_>]) -> usize {
    let mut bytes: usize = 0;
    let fit = items.iter().take(TOGETHER_ITEMS_MAX).take_while(|item| {
        bytes = bytes.saturating_add(stored_len(item));
        bytes <= TOGETHER_BYTES
    });
    fit.count().max(1)
}

/// Returns the length of an item as it is stored, in bytes.
fn stored_len(item: &Raw<'_>) -> usize {
    parts_of(*item, &mut [0; 4]).iter().map(|part| part.len()).sum()
}

fn is_too_long(item: &Raw<'_>) -> bool {
    stored_len(item) > super::ITEM_BYTES_MAX
}

fn too_large() -> CallError {
    Fault::TooLarge { limit: count_of(super::ITEM_BYTES_MAX) }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_put_together_up_to_the_limits_and_one_above_is_not() {
        let item = |bytes| Raw::plain(bytes);
        let half = vec![0; TOGETHER_BYTES / 2 - 1];
        let long = vec![0; 2 * TOGETHER_BYTES];
        assert_eq!(together(&[item(&half), item(&half)]), 2);
        assert_eq!(together(&[item(&half), item(&half), item(b"")]), 2);
        assert_eq!(together(&[item(&long), item(b"")]), 1);
        assert_eq!(together(&vec![item(b""); TOGETHER_ITEMS_MAX]), TOGETHER_ITEMS_MAX);
        assert_eq!(together(&vec![item(b""); TOGETHER_ITEMS_MAX + 1]), TOGETHER_ITEMS_MAX);
    }
}

//! The operations of queues.

use super::definition::Definition;
use super::frame::{Answer, Ask, Refusal};
use super::{RabbitMq, refused};
use crate::backend::{Backend, CallError};
use crate::count::count_of;
use crate::engine::stored::{loaded, parts_of};
use crate::limits::CAPACITY_MAX;
use crate::proto::{Fault, JoinableQueueOp, Kind, ObjectId, Payload, QueueOp, Raw, Reply, Wait};

/// How often a call takes something at most that the keeper does not live to acknowledge.
const ATTEMPTS_MAX: usize = 3;

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
            QueueOp::Put(item) => self.put(&definition, item, wait),
            QueueOp::PutMany(_) => self.lacks(Kind::Queue, "putting several items in one step"),
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
            JoinableQueueOp::Put(task) => self.put(&definition, task, wait),
            JoinableQueueOp::PutMany(_) => self.lacks(kind, "putting several items in one step"),
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

    fn put(&self, definition: &Definition, item: Raw<'_>, wait: Wait) -> Result<Reply<Payload>, CallError> {
        let (queue, has_limit, item) =
            (self.names.queue(definition), definition.capacity > 0, parts_of(item, &mut [0; 4]).concat());
        if item.len() > super::ITEM_BYTES_MAX {
            return Err(Fault::TooLarge { limit: count_of(super::ITEM_BYTES_MAX) }.into());
        }
        let lens = vec![count_of(item.len())];
        let ask = |wait| Ask::Put { queue: queue.clone(), has_limit, wait, lens: lens.clone() };
        let heard = self.converse(ask, &item, wait)?;
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
fn values_in(mut items: &[u8], lens: &[u64]) -> Result<Vec<Payload>, CallError> {
    let mut values = Vec::with_capacity(lens.len());
    for len in lens {
        let len = usize::try_from(*len).map_err(|_| CallError::Protocol)?;
        let (item, rest) = items.split_at_checked(len).ok_or(CallError::Protocol)?;
        values.push(loaded(item.to_vec())?);
        items = rest;
    }
    Ok(values)
}

//! What a program does with queues.

use std::sync::Arc;

use super::definition::Definition;
use super::frame::{Answer, Ask, Refusal, items_in};
use super::line::Pace;
use super::work::{Batch, What, Work};
use super::{RabbitMq, refused};
use crate::backend::{Backend, CallError};
use crate::count::count_of;
use crate::engine::stored::loaded;
use crate::limits::CAPACITY_MAX;
use crate::proto::{Fault, Kind, ObjectId, Payload, Reply, Wait};

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
    /// Does something with a queue of this kind.
    ///
    /// # Errors
    /// [`CallError`].
    pub(super) async fn work(
        &self,
        object: ObjectId,
        (kind, work): (Kind, Work),
        wait: Wait,
        pace: Pace,
    ) -> Result<Reply<Payload>, CallError> {
        let definition = self.definition_at(object, pace).await?;
        let found = definition.kind();
        if found != kind {
            return Err(Fault::WrongKind { found }.into());
        }
        match work {
            Work::Put(batches) => self.put_all(&definition, &batches, wait, pace).await,
            Work::Get(what) => self.get(&definition, what, wait, pace).await,
            Work::Settle { lease, is_done } => self.settle(lease, is_done, pace).await,
            Work::Len => self.len(&definition, pace).await,
            Work::Capacity => Ok(Reply::Count(definition.capacity)),
            Work::IsClosed => Ok(Reply::Bool(false)),
            Work::Failed { at, take } => self.failed(&definition, at, take, pace).await,
            Work::Lacks(what) => Err(CallError::unsupported(&self.caps(), kind, what)),
        }
    }

    /// Puts items, some at a time. If some were put, and others were not, that is not known.
    async fn put_all(
        &self,
        definition: &Arc<Definition>,
        batches: &[Batch],
        wait: Wait,
        pace: Pace,
    ) -> Result<Reply<Payload>, CallError> {
        let most = if definition.capacity == 0 { CAPACITY_MAX } else { definition.capacity };
        if count_of(batches.iter().map(|batch| batch.lens.len()).sum()) > most {
            return Err(Fault::OutOfRange { least: 0, most }.into());
        }
        for (turn, batch) in batches.iter().enumerate() {
            let put = self.put(definition, batch, wait, pace).await;
            put.map_err(|error| if turn == 0 { error } else { CallError::OutcomeUnknown })?;
        }
        Ok(Reply::Done)
    }

    async fn put(
        &self,
        definition: &Definition,
        batch: &Batch,
        wait: Wait,
        pace: Pace,
    ) -> Result<(), CallError> {
        let (queue, has_limit) = (self.names.queue(definition), definition.capacity > 0);
        let ask = |wait| Ask::Put { queue: queue.clone(), has_limit, wait, lens: batch.lens.clone() };
        let heard = self.converse(ask, &batch.bytes, wait, pace).await?;
        let answer = heard.answer.clone();
        heard.end();
        match answer {
            Answer::Done => Ok(()),
            Answer::Refused(Refusal::Full) if wait != Wait::No => Err(Fault::TimedOut.into()),
            answer => Err(refused(&answer)),
        }
    }

    /// Takes items, or a task. Says that they were read, or takes others: those that the keeper did not acknowledge return.
    async fn get(
        &self,
        definition: &Definition,
        what: What,
        wait: Wait,
        pace: Pace,
    ) -> Result<Reply<Payload>, CallError> {
        let queue = self.names.queue(definition);
        let max = match what {
            What::Item => Some(1),
            What::Items(max) => Some(max),
            What::Task => None,
        };
        for _ in 0..ATTEMPTS_MAX {
            let ask = |wait| Ask::Get { queue: queue.clone(), max, wait };
            let mut heard = self.converse(ask, &[], wait, pace).await?;
            if let Answer::Refused(refusal) = heard.answer {
                heard.end();
                return Err(match refusal {
                    Refusal::Empty if wait != Wait::No => Fault::TimedOut.into(),
                    refusal => refusal.into(),
                });
            }
            let reply = taken(&heard.answer, std::mem::take(&mut heard.items), what);
            if heard.was_read(pace).await.is_ok() {
                heard.end();
                return reply;
            }
        }
        Err(CallError::ServerGone)
    }

    async fn settle(&self, lease: u64, is_done: bool, pace: Pace) -> Result<Reply<Payload>, CallError> {
        match self.ask(&Ask::Settle { lease, is_done }, Wait::No, pace).await? {
            Answer::Done => Ok(Reply::Done),
            answer => Err(refused(&answer)),
        }
    }

    async fn len(&self, definition: &Definition, pace: Pace) -> Result<Reply<Payload>, CallError> {
        match self.ask(&Ask::Len { queue: self.names.queue(definition) }, Wait::No, pace).await? {
            Answer::Count(count) => Ok(Reply::Count(count)),
            answer => Err(refused(&answer)),
        }
    }

    /// Returns failed tasks. Those that stay have no numbers by which a later call could go on, so the first call returns all.
    async fn failed(
        &self,
        definition: &Definition,
        at: u64,
        take: bool,
        pace: Pace,
    ) -> Result<Reply<Payload>, CallError> {
        if at > 0 && !take {
            return Ok(Reply::Values { values: Vec::new(), version: at });
        }
        let queue = self.names.failed(definition.id);
        let found = self.all_of(&Ask::Failed { queue, take }, pace).await?;
        let version = at.saturating_add(count_of(found.len()));
        Ok(Reply::Values { values: found, version })
    }

    /// Returns so many bytes of each failed task.
    ///
    /// # Errors
    /// [`CallError`].
    #[cfg(feature = "redis")]
    pub(super) async fn failed_heads(
        &self,
        definition: &Definition,
        bytes: u64,
        pace: Pace,
    ) -> Result<Vec<Payload>, CallError> {
        let queue = self.names.failed(definition.id);
        self.all_of(&Ask::FailedHeads { queue, bytes }, pace).await
    }

    /// Returns the items of an answer that consists of several frames, if necessary.
    async fn all_of(&self, ask: &Ask, pace: Pace) -> Result<Vec<Payload>, CallError> {
        let mut heard = self.converse(|_| ask.clone(), &[], Wait::No, pace).await?;
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
            heard.next(pace).await?;
        }
        if !found.is_empty() {
            heard.was_read(pace).await?;
        }
        heard.end();
        Ok(found)
    }
}

/// Returns what a call has taken.
fn taken(answer: &Answer, items: Vec<u8>, what: What) -> Result<Reply<Payload>, CallError> {
    match (what, answer) {
        (What::Task, Answer::Task { lease, deliveries }) => {
            Ok(Reply::Leased { lease: *lease, deliveries: *deliveries, task: loaded(items)? })
        }
        (What::Item, Answer::Items { lens, has_more: false }) => {
            values_in(&items, lens)?.pop().map(Reply::Value).ok_or(CallError::Protocol)
        }
        (What::Items(_), Answer::Items { lens, has_more: false }) => {
            Ok(Reply::Values { values: values_in(&items, lens)?, version: 0 })
        }
        _ => Err(CallError::Protocol),
    }
}

/// Returns the values that lie one behind the other.
fn values_in(items: &[u8], lens: &[u64]) -> Result<Vec<Payload>, CallError> {
    items_in(items, lens)?.into_iter().map(|item| loaded(item.to_vec())).collect()
}

//! Outcomes that have arrived and were not taken yet.

use std::collections::{BTreeMap, HashMap};

use crate::pool::error::TaskError;
use crate::pool::payload::{Kept, Outcome, Payload};

/// An outcome that has arrived: the encoded value, or the item's error.
pub(super) type Arrived = Result<Kept, TaskError>;

/// The outcomes of each job that somebody waits for. Those of other jobs are dropped.
#[derive(Debug, Default)]
pub(super) struct Inboxes {
    jobs: HashMap<u64, BTreeMap<u64, Arrived>>,
    next: u64,
}

impl Inboxes {
    /// Makes an inbox, and returns the number of its job.
    pub(super) fn open(&mut self) -> u64 {
        let job = self.next;
        self.next = self.next.saturating_add(1);
        self.jobs.insert(job, BTreeMap::new());
        job
    }

    pub(super) fn close(&mut self, job: u64) {
        self.jobs.remove(&job);
    }

    /// Stores an outcome. Only the first one of an item counts.
    pub(super) fn put(&mut self, job: u64, index: u64, outcome: Outcome<'_>) {
        if let Some(inbox) = self.jobs.get_mut(&job) {
            inbox.entry(index).or_insert_with(|| outcome.map(Payload::keep));
        }
    }

    /// Takes the outcome of an item.
    pub(super) fn take(&mut self, job: u64, index: u64) -> Option<Arrived> {
        self.jobs.get_mut(&job)?.remove(&index)
    }

    /// Takes any outcome, the one of the first item before others.
    pub(super) fn take_any(&mut self, job: u64) -> Option<(u64, Arrived)> {
        self.jobs.get_mut(&job)?.pop_first()
    }

    /// Returns whether the outcome of an item has arrived.
    pub(super) fn has(&self, job: u64, index: u64) -> bool {
        self.jobs.get(&job).is_some_and(|inbox| inbox.contains_key(&index))
    }
}

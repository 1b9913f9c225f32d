//! What a snapshot contains of a queue of tasks, apart from the waiting ones.

use super::JoinableQueue;
use crate::limits::FAILED_TASKS_MAX;
use crate::proto::Payload;
use crate::state::contents::Task;
use crate::state::fifo::Fifo;

/// What a snapshot contains.
#[derive(Debug)]
pub(in crate::state) struct Saved<'q> {
    /// The tasks in work that may be delivered again, in the order in which they were taken. They wait before all others once
    /// their owners have ended.
    pub(in crate::state) back: Vec<&'q Task>,
    /// The failed tasks, and those in work that may not be delivered again.
    pub(in crate::state) failed: Vec<(u64, &'q Payload)>,
    pub(in crate::state) max_deliveries: u32,
    pub(in crate::state) newest_lease: u64,
    pub(in crate::state) next_failed: u64,
}

impl JoinableQueue {
    pub(in crate::state) const fn fifo(&self) -> &Fifo<Task> {
        &self.fifo
    }

    pub(in crate::state) const fn fifo_mut(&mut self) -> &mut Fifo<Task> {
        &mut self.fifo
    }

    /// Returns what a snapshot contains, as if all clients had ended.
    pub(in crate::state) fn saved(&self) -> Saved<'_> {
        let mut leases: Vec<_> =
            self.leases.iter().map(|((_, lease), leased)| (*lease, &leased.task)).collect();
        leases.sort_unstable_by_key(|(lease, _)| *lease);
        let tasks = leases.into_iter().map(|(_, task)| task);
        let (back, over): (Vec<_>, Vec<_>) = tasks.partition(|task| task.deliveries < self.max_deliveries);
        let mut failed: Vec<_> = self.failed.iter().map(|(number, payload)| (*number, payload)).collect();
        failed.extend((self.next_failed..).zip(over.into_iter().map(|task| &task.payload)));
        let next_failed = failed
            .last()
            .map_or(self.next_failed, |(number, _)| self.next_failed.max(number.saturating_add(1)));
        // The oldest of too many are dropped, as always.
        failed.drain(..failed.len().saturating_sub(FAILED_TASKS_MAX));
        let (max_deliveries, newest_lease) = (self.max_deliveries, self.newest_lease);
        Saved { back, failed, max_deliveries, newest_lease, next_failed }
    }

    /// Adds a failed task of a snapshot. Returns `false` if another one has the number.
    pub(in crate::state) fn restore_failed(&mut self, number: u64, task: Payload) -> bool {
        self.failed.insert(number, task).is_none()
    }

    /// Restores the numbers that go on growing.
    pub(in crate::state) const fn restore_numbers(&mut self, newest_lease: u64, next_failed: u64) {
        (self.newest_lease, self.next_failed) = (newest_lease, next_failed);
    }
}

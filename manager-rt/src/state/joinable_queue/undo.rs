//! Undoing changes of a queue of tasks.

use crate::proto::ObjectId;
use crate::state::contents::{Failure, Lease, Task};
use crate::state::context::Core;
use crate::state::grants::Granted;
use crate::state::joinable_queue::JoinableQueue;
use crate::state::undo::TaskUndo;

impl TaskUndo {
    /// Commits the change.
    pub(in crate::state) fn commit(self, queue: ObjectId, core: &mut Core) {
        match self {
            Self::Put(_) => {}
            Self::Leased { client, call, lease } => {
                core.note_grant(client, call, queue, Granted::Task { lease });
            }
            Self::Done { task, .. } => core.let_go(task.into()),
            Self::Requeued { failure, .. } => {
                if let Some((_, payload)) = failure.and_then(|failure| failure.dropped) {
                    core.let_go(payload);
                }
            }
            Self::TookFailed { client, call, tasks } => {
                let tasks = tasks.into_iter().map(|(_, task)| task).collect();
                core.deliver(client, call, queue, tasks);
            }
        }
    }
}

impl JoinableQueue {
    pub(in crate::state) fn undo(&mut self, undo: TaskUndo, core: &mut Core) {
        match undo {
            TaskUndo::Put(count) => self.fifo.undo_put(count, core),
            TaskUndo::Leased { client, lease, .. } => {
                if let Some(Lease { mut task, .. }) = self.leases.remove(&(client, lease)) {
                    task.deliveries = task.deliveries.saturating_sub(1);
                    self.newest_lease = lease.saturating_sub(1);
                    self.fifo.put_back(std::iter::once(task));
                }
            }
            TaskUndo::Done { client, lease, task } => {
                self.leases.insert((client, lease), task);
            }
            TaskUndo::Requeued { client, lease, failure } => {
                if let Some(task) = self.take_again(failure) {
                    self.insert_lease((client, lease), task, core);
                }
            }
            TaskUndo::TookFailed { tasks, .. } => self.failed.extend(tasks),
        }
    }

    /// Takes back the task that was requeued last, from where it went.
    fn take_again(&mut self, failure: Option<Failure>) -> Option<Task> {
        let Some(Failure { number, deliveries, dropped }) = failure else {
            return self.fifo.items.pop_front();
        };
        let payload = self.failed.remove(&number)?;
        self.next_failed = number;
        self.failed.extend(dropped);
        Some(Task { payload, deliveries })
    }
}

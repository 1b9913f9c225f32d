//! The parent's view of the state words.
//!
//! Looking at all items every few milliseconds would be too much for a tree of a million files. So the parent remembers
//! two borders, and only what lies between them can change:
//!
//! 1. All items below `settled` are finished.
//! 2. No item from the frontier on was ever handed out: tasks leave the queue in order.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::share::{Shared, State};
use crate::walk::Tree;

/// The parent's view of the items.
#[derive(Debug)]
pub(crate) struct Ledger<'a> {
    tree: &'a Tree,
    shared: &'a Shared,
    settled: usize,
    settled_bytes: u64,
    settled_deliveries: u64,
    finished: usize,
    last_change: Instant,
}

/// What one look found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// The number of items that have a result.
    pub(crate) finished: usize,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// The number of times that tasks were handed out.
    pub(crate) deliveries: u64,
    /// Whether items were finished since the last look.
    pub(crate) progressed: bool,
    /// How long ago the last item was finished or worker died.
    pub(crate) idle: Duration,
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(tree: &'a Tree, shared: &'a Shared) -> Self {
        let last_change = Instant::now();
        Self { tree, shared, settled: 0, settled_bytes: 0, settled_deliveries: 0, finished: 0, last_change }
    }

    pub(crate) fn look(&mut self) -> Result<View> {
        let frontier = self.shared.frontier();
        while self.settled < frontier && self.is_finished(self.settled)? {
            self.settled_bytes += self.tree.items[self.settled].length;
            self.settled_deliveries += u64::from(self.shared.deliveries(self.settled)?);
            self.settled += 1;
        }
        let (mut finished, mut bytes) = (self.settled, self.settled_bytes);
        let mut deliveries = self.settled_deliveries;
        for item in self.settled..frontier {
            deliveries += u64::from(self.shared.deliveries(item)?);
            if self.is_finished(item)? {
                finished += 1;
                bytes += self.tree.items[item].length;
            }
        }
        let progressed = finished > self.finished;
        if progressed {
            self.finished = finished;
            self.last_change = Instant::now();
        }
        Ok(View { finished, bytes, deliveries, progressed, idle: self.last_change.elapsed() })
    }

    /// Records that a worker has ended.
    pub(crate) fn note_end(&mut self) {
        self.last_change = Instant::now();
    }

    fn is_finished(&self, item: usize) -> Result<bool> {
        Ok(self.shared.state(item)? != State::Open)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use mp::Task;

    use super::*;

    fn seen(ledger: &mut Ledger<'_>) -> (usize, u64, u64, bool) {
        let View { finished, bytes, deliveries, progressed, .. } = ledger.look().unwrap();
        (finished, bytes, deliveries, progressed)
    }

    /// Takes the next task as a worker does.
    fn get(shared: &Shared) -> (usize, Task<u64>) {
        let task = shared.tasks.get().unwrap();
        let item = usize::try_from(*task).unwrap();
        shared.note_delivery(item, task.deliveries()).unwrap();
        (item, task)
    }

    #[test]
    fn finished_items_and_deliveries_are_counted() {
        let mut tree = Tree::default();
        (0..4).for_each(|file| tree.add_file(PathBuf::from(file.to_string()), 10));
        let shared = Shared::new(4, u32::MAX).unwrap();
        let mut ledger = Ledger::new(&tree, &shared);
        assert_eq!(seen(&mut ledger), (0, 0, 0, false));
        let tasks = [(); 3].map(|()| get(&shared));
        assert_eq!(seen(&mut ledger), (0, 0, 3, false));
        // In any order.
        shared.commit(tasks[1].0, State::Done).unwrap();
        assert_eq!(seen(&mut ledger), (1, 10, 3, true));
        assert_eq!(seen(&mut ledger), (1, 10, 3, false));
        assert_eq!(ledger.settled, 0);
        shared.commit(tasks[0].0, State::Unreadable(13)).unwrap();
        assert_eq!(seen(&mut ledger), (2, 20, 3, true));
        assert_eq!(ledger.settled, 2);
        // All tasks come back, even those with results.
        drop(tasks);
        assert_eq!(
            [(); 3].map(|()| get(&shared)).map(|(item, task)| (item, task.deliveries())),
            [(0, 2), (1, 2), (2, 2)]
        );
        assert_eq!(seen(&mut ledger), (2, 20, 4, false), "what is settled is not looked at again");
    }
}

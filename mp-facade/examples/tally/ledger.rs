//! What the parent sees in the state words.
//!
//! Looking at all items every few milliseconds would be too much for a tree of a million files. So the parent remembers
//! two borders, and only what lies between them can change:
//!
//! 1. All items below `settled` are finished.
//! 2. No item from `frontier` on was ever claimed: the cursor never was beyond. (Workers that search without the cursor
//!    begin when it has passed the last item. Only the parent moves it back, and learns then where it was.)

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
    frontier: usize,
    finished: usize,
    last_change: Instant,
}

/// What one look found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Items that are done or unreadable.
    pub(crate) finished: usize,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Items that nobody has.
    pub(crate) free: usize,
    /// Whether items were finished since the last look.
    pub(crate) progressed: bool,
    /// How long ago that was seen, or a worker died.
    pub(crate) idle: Duration,
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(tree: &'a Tree, shared: &'a Shared) -> Self {
        let last_change = Instant::now();
        Self { tree, shared, settled: 0, settled_bytes: 0, frontier: 0, finished: 0, last_change }
    }

    pub(crate) fn look(&mut self) -> Result<View> {
        self.frontier = self.frontier.max(self.shared.cursor());
        while self.settled < self.frontier && is_final(self.shared.state(self.settled)?) {
            self.settled_bytes += self.tree.items[self.settled].length;
            self.settled += 1;
        }
        let (mut finished, mut bytes) = (self.settled, self.settled_bytes);
        let mut free = self.shared.items() - self.frontier;
        for item in self.settled..self.frontier {
            let state = self.shared.state(item)?;
            free += usize::from(state == State::Free);
            if is_final(state) {
                finished += 1;
                bytes += self.tree.items[item].length;
            }
        }
        let progressed = finished > self.finished;
        if progressed {
            self.finished = finished;
            self.last_change = Instant::now();
        }
        Ok(View { finished, bytes, free, progressed, idle: self.last_change.elapsed() })
    }

    /// Frees what a dead worker had claimed and not committed, and tells how many items that were.
    pub(crate) fn take_back(&mut self, dead: u32) -> Result<u64> {
        self.last_change = Instant::now();
        self.frontier = self.frontier.max(self.shared.cursor());
        let mut taken_back = 0;
        let mut first_free = None;
        for item in self.settled..self.frontier {
            let state = self.shared.state(item)?;
            let is_free = match state {
                State::Claimed(worker) if worker == dead => {
                    let taken = self.shared.take_back(item, dead)?;
                    taken_back += u64::from(taken);
                    taken
                }
                // Perhaps it died between the cursor and the claim.
                state => state == State::Free,
            };
            if is_free && first_free.is_none() {
                first_free = Some(item);
            }
        }
        if let Some(item) = first_free {
            // The next worker begins there. Without this, all others could be held back at later items.
            self.frontier = self.frontier.max(self.shared.rewind(item));
        }
        Ok(taken_back)
    }
}

fn is_final(state: State) -> bool {
    matches!(state, State::Done | State::Unreadable(_))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn tree(files: usize) -> Tree {
        let mut tree = Tree::default();
        (0..files).for_each(|file| tree.add_file(PathBuf::from(file.to_string()), 10));
        tree
    }

    fn seen(ledger: &mut Ledger<'_>) -> (usize, u64, usize, bool) {
        let View { finished, bytes, free, progressed, .. } = ledger.look().unwrap();
        (finished, bytes, free, progressed)
    }

    /// Takes the next item as a worker does.
    fn claim(shared: &Shared, worker: u32) -> usize {
        let item = shared.advance().unwrap();
        assert!(shared.claim(item, worker).unwrap());
        item
    }

    #[test]
    fn finished_and_free_items_are_counted() {
        let (tree, shared) = (tree(4), Shared::new(4).unwrap());
        let mut ledger = Ledger::new(&tree, &shared);
        assert_eq!(seen(&mut ledger), (0, 0, 4, false));
        let items = [1, 2, 3].map(|worker| claim(&shared, worker));
        assert_eq!(seen(&mut ledger), (0, 0, 1, false));
        // In any order.
        shared.commit(items[1], State::Done).unwrap();
        assert_eq!(seen(&mut ledger), (1, 10, 1, true));
        assert_eq!(seen(&mut ledger), (1, 10, 1, false));
        shared.commit(items[0], State::Unreadable(13)).unwrap();
        assert_eq!(seen(&mut ledger), (2, 20, 1, true));
        assert_eq!(ledger.settled, 2);
    }

    #[test]
    fn a_dead_workers_items_are_free_again_and_others_are_not() {
        let (tree, shared) = (tree(4), Shared::new(4).unwrap());
        let mut ledger = Ledger::new(&tree, &shared);
        let committed = claim(&shared, 7);
        shared.commit(committed, State::Done).unwrap();
        let (lost, kept) = (claim(&shared, 7), claim(&shared, 8));
        assert_eq!(ledger.take_back(7).unwrap(), 1);
        assert_eq!(shared.state(lost).unwrap(), State::Free);
        assert_eq!(shared.state(kept).unwrap(), State::Claimed(8));
        assert_eq!(seen(&mut ledger), (1, 10, 2, true));
        assert_eq!(ledger.take_back(7).unwrap(), 0);
        assert_eq!(claim(&shared, 9), lost, "the cursor moved back to it");
        // From there the cursor passes items that somebody has, and the frontier knows that they may be claimed.
        assert_eq!(ledger.take_back(8).unwrap(), 1);
        assert_eq!(shared.state(kept).unwrap(), State::Free);
    }

    #[test]
    fn an_item_that_was_never_claimed_is_found_but_is_not_redone() {
        let (tree, shared) = (tree(2), Shared::new(2).unwrap());
        let mut ledger = Ledger::new(&tree, &shared);
        assert_eq!(shared.advance(), Some(0));
        assert_eq!(ledger.take_back(7).unwrap(), 0);
        assert_eq!(claim(&shared, 8), 0);
    }
}

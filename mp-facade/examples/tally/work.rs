//! A worker: claims items, counts them, commits them, until none is free.

use std::fs::File;
use std::io;
use std::os::unix::process::parent_id;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::count::Counts;
use crate::read::{BUFFER_BYTES, count_range};
use crate::share::{Shared, State};
use crate::walk::{Item, Tree};

/// What an error without a number is listed as.
const EIO: u32 = 5;
/// How long a worker that is held back waits before its second look; then twice as long each time, up to the maximum:
/// 256 workers that look every 200 µs would leave nobody a processor to count on.
const FIRST_WAIT: Duration = Duration::from_micros(200);
const WAIT_MAX: Duration = Duration::from_millis(5);

/// A worker, in its own process.
pub(crate) struct Worker<'a> {
    tree: &'a Tree,
    shared: &'a Shared,
    /// From 1 on; no two workers of a run have the same.
    number: u32,
    parent_pid: u32,
    buffer: Vec<u8>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(tree: &'a Tree, shared: &'a Shared, number: u32, parent_pid: u32) -> Self {
        Self { tree, shared, number, parent_pid, buffer: vec![0; BUFFER_BYTES] }
    }

    /// Works until no item is free. The error is a text since it travels to the parent.
    pub(crate) fn run(mut self) -> Result<(), String> {
        self.work().map_err(|error| format!("{error:#}"))
    }

    fn work(&mut self) -> Result<()> {
        while let Some(item) = self.shared.advance() {
            self.try_item(item)?;
        }
        // What is free now was given back, or its worker died between the cursor and the claim.
        loop {
            let mut found = false;
            for item in 0..self.shared.items() {
                found |= self.try_item(item)?;
            }
            if !found {
                return Ok(());
            }
        }
    }

    /// Does an item if it is free, and tells whether it was.
    fn try_item(&mut self, item: usize) -> Result<bool> {
        if !self.shared.claim(item, self.number)? {
            return Ok(false);
        }
        let state = match self.count(self.tree.items[item]) {
            Ok(counts) => {
                self.shared.write_record(item, counts)?;
                State::Done
            }
            Err(error) => State::Unreadable(errno_of(&error)),
        };
        self.wait_until_released(item)?;
        self.shared.commit(item, state)?;
        Ok(true)
    }

    fn count(&mut self, item: Item) -> io::Result<Counts> {
        let file = File::open(&self.tree.paths[item.path])?;
        count_range(&file, item.offset, item.length, &mut self.buffer)
    }

    /// Waits while the parent holds this item back for a kill. Without `--kill` this never waits.
    fn wait_until_released(&self, item: usize) -> Result<()> {
        let mut wait = FIRST_WAIT;
        loop {
            // A worker that nobody waits for must not wait either.
            ensure!(parent_id() == self.parent_pid, "the parent has ended");
            if self.shared.is_released(item) {
                return Ok(());
            }
            // Short sleeps, until the lock family has an event to wait for.
            sleep(wait);
            wait = (wait * 2).min(WAIT_MAX);
        }
    }
}

fn errno_of(error: &io::Error) -> u32 {
    error.raw_os_error().and_then(|errno| u32::try_from(errno).ok()).unwrap_or(EIO)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use indicatif::ProgressBar;

    use super::*;

    /// Works in this very process, which needs no fork.
    fn work(tree: &Tree, shared: &Shared) {
        shared.release(shared.items());
        Worker::new(tree, shared, 1, parent_id()).run().unwrap();
    }

    #[test]
    fn items_behind_the_cursor_are_found() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let tree = Tree::walk(&[folder.path().to_path_buf()], &ProgressBar::hidden());
        let shared = Shared::new(tree.items.len()).unwrap();
        // A worker that died right after this would leave item 0 unclaimed; another one has claimed item 1.
        assert_eq!(shared.advance(), Some(0));
        assert!(shared.claim(1, 9).unwrap());
        work(&tree, &shared);
        let states = [0, 1, 2].map(|item| shared.state(item).unwrap());
        assert_eq!(states, [State::Done, State::Claimed(9), State::Done]);
        assert_eq!(shared.record(0).unwrap().words, 1);
    }

    #[test]
    fn a_file_that_vanished_is_unreadable() {
        let folder = tempfile::tempdir().unwrap();
        let mut tree = Tree::default();
        tree.add_file(folder.path().join("absent"), 3);
        let shared = Shared::new(tree.items.len()).unwrap();
        work(&tree, &shared);
        assert_eq!(shared.state(0).unwrap(), State::Unreadable(2));
    }

    #[test]
    fn a_worker_without_its_parent_stops() {
        let folder = tempfile::tempdir().unwrap();
        let mut tree = Tree::default();
        tree.add_file(folder.path().join("absent"), 3);
        let shared = Shared::new(tree.items.len()).unwrap();
        // Never released, so it would wait for ever. No process has this id.
        let error = Worker::new(&tree, &shared, 1, u32::MAX).run().unwrap_err();
        assert_eq!(error, "the parent has ended");
        assert_eq!(shared.state(0).unwrap(), State::Claimed(1));
    }
}

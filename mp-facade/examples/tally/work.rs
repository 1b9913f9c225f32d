//! A worker: takes tasks, counts their items, commits the results, until all tasks of all workers are finished.
//!
//! The words of an item are in the manager before its result is committed. A worker that is killed in between leaves the
//! item open, and the next one adds the words again, which changes nothing: see [`ranking`](crate::ranking).

use std::fs::File;
use std::io;
use std::os::unix::process::parent_id;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Error, Result, ensure};
use mp::{GetError, Task};
use serde::{Deserialize, Serialize};

use crate::count::Counts;
use crate::ranking::RankingError;
use crate::read::{BUFFER_BYTES, Range, count_range};
use crate::share::{Shared, State};
use crate::walk::Tree;
use crate::words::Words;

/// The number with which an error without a number is listed.
const EIO: u32 = 5;
/// How long a worker that is held back waits before its second look. Then it waits twice as long each time, up to the
/// maximum: 256 workers that look every 200 µs would leave no processor for counting.
const FIRST_WAIT: Duration = Duration::from_micros(200);
const WAIT_MAX: Duration = Duration::from_millis(5);

/// Why a worker ended before the work did: a text, since it travels to the parent.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    /// Whether every other worker would fail too.
    pub(crate) is_final: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { reason: format!("{error:#}"), is_final: error.is::<RankingError>() }
    }
}

/// A worker, in its own process.
pub(crate) struct Worker<'a> {
    tree: &'a Tree,
    shared: &'a Shared,
    parent_pid: u32,
    buffer: Vec<u8>,
    words: Option<Words>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(tree: &'a Tree, shared: &'a Shared, parent_pid: u32) -> Self {
        let words = shared.ranking.is_some().then(Words::new);
        Self { tree, shared, parent_pid, buffer: vec![0; BUFFER_BYTES], words }
    }

    /// Works until all tasks are finished.
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        Ok(self.work()?)
    }

    fn work(&mut self) -> Result<()> {
        loop {
            match self.shared.tasks.get() {
                Ok(task) => self.work_on(task)?,
                // No task is left, and no worker has one that could come back.
                Err(GetError::Closed) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Does a task, unless it already has a result, because its worker was killed before it could call `done`.
    fn work_on(&mut self, task: Task<u64>) -> Result<()> {
        let item = usize::try_from(*task)?;
        self.shared.note_delivery(item, task.deliveries())?;
        if self.shared.state(item)? == State::Open {
            let state = match self.count(item) {
                Ok(counts) => {
                    self.shared.write_record(item, counts)?;
                    if let (Some(ranking), Some(words)) = (&self.shared.ranking, &mut self.words) {
                        ranking.add(item, &words.finish())?;
                    }
                    State::Done
                }
                Err(error) => State::Unreadable(errno_of(&error)),
            };
            self.wait_until_released(item)?;
            self.shared.commit(item, state)?;
        }
        task.done();
        Ok(())
    }

    fn count(&mut self, item: usize) -> io::Result<Counts> {
        let (range, next) = (self.tree.items[item], self.tree.items.get(item + 1));
        let behind = next.filter(|next| next.path == range.path).map_or(0, |next| next.length);
        let file = File::open(&self.tree.paths[range.path])?;
        let range = Range { offset: range.offset, length: range.length, behind };
        count_range(&file, range, &mut self.buffer, self.words.as_mut())
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
            // Only runs that kill wait here, and an event for each step of the plan would be more than this.
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
    use mp::manager::Manager;

    use super::*;
    use crate::ranking::Ranking;

    /// Works in this process, without a fork.
    fn work(tree: &Tree, shared: &Shared) {
        shared.release(shared.items());
        Worker::new(tree, shared, parent_id()).run().unwrap();
    }

    fn tree_of_one(path: std::path::PathBuf) -> (Tree, Shared) {
        let mut tree = Tree::default();
        tree.add_file(path, 3);
        let shared = Shared::new(tree.items.len(), u32::MAX).unwrap();
        (tree, shared)
    }

    #[test]
    fn a_task_that_comes_again_is_done_once() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let tree = Tree::walk(&[folder.path().to_path_buf()], &ProgressBar::hidden());
        let shared = Shared::new(tree.items.len(), u32::MAX).unwrap();
        // One worker ended before the result, another one after it.
        drop(shared.tasks.get().unwrap());
        let tasks = [(); 2].map(|()| shared.tasks.get().unwrap());
        assert_eq!([*tasks[0], *tasks[1]], [0, 1]);
        assert!(shared.commit(1, State::Unreadable(99)).unwrap());
        drop(tasks);
        work(&tree, &shared);
        shared.tasks.join().unwrap();
        let states = [0, 1, 2].map(|item| shared.state(item).unwrap());
        assert_eq!(states, [State::Done, State::Unreadable(99), State::Done]);
        assert_eq!([0, 1, 2].map(|item| shared.deliveries(item).unwrap()), [3, 2, 1]);
        assert_eq!(shared.record(0).unwrap().words, 1);
    }

    #[test]
    fn words_of_a_task_that_comes_again_count_once() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            fs::write(folder.path().join(name), "one two two").unwrap();
        }
        let tree = Tree::walk(&[folder.path().to_path_buf()], &ProgressBar::hidden());
        let mut shared = Shared::new(tree.items.len(), u32::MAX).unwrap();
        let ranking = Ranking::start(Manager::builder()).unwrap();
        // As if a worker was killed after it sent its words, and before its result.
        ranking.add(0, &[("one".to_owned(), 1), ("two".to_owned(), 2)]).unwrap();
        shared.ranking = Some(ranking);
        work(&tree, &shared);
        let ranking = shared.ranking.take().unwrap();
        let ranked = ranking.read(9).unwrap();
        assert_eq!(ranked.top, [("two".to_owned(), 4), ("one".to_owned(), 2)]);
        assert_eq!((ranked.words, ranked.distinct, ranked.transactions), (6, 2, 2));
        ranking.close().unwrap();
    }

    #[test]
    fn words_without_room_end_the_work() {
        let folder = tempfile::tempdir().unwrap();
        let letters =
            ('a'..='z').flat_map(|a| ('a'..='z').map(move |b| format!("{a}{b}{}\n", "x".repeat(50))));
        fs::write(folder.path().join("many"), letters.collect::<String>()).unwrap();
        let tree = Tree::walk(&[folder.path().to_path_buf()], &ProgressBar::hidden());
        let mut shared = Shared::new(tree.items.len(), u32::MAX).unwrap();
        let ranking = Ranking::start(Manager::builder().memory_bytes_max(16 << 10)).unwrap();
        shared.ranking = Some(ranking);
        shared.release(shared.items());
        let failure = Worker::new(&tree, &shared, parent_id()).run().unwrap_err();
        assert!(failure.is_final && failure.reason.contains("no room in the manager"), "{failure:?}");
        assert_eq!(shared.state(0).unwrap(), State::Open);
        shared.ranking.take().unwrap().close().unwrap();
    }

    #[test]
    fn a_file_that_vanished_is_unreadable() {
        let folder = tempfile::tempdir().unwrap();
        let (tree, shared) = tree_of_one(folder.path().join("absent"));
        work(&tree, &shared);
        assert_eq!(shared.state(0).unwrap(), State::Unreadable(2));
    }

    #[test]
    fn a_worker_without_its_parent_stops_and_its_task_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let (tree, shared) = tree_of_one(folder.path().join("absent"));
        // Never released, so it would wait for ever. No process has this id.
        let error = Worker::new(&tree, &shared, u32::MAX).run().unwrap_err();
        assert_eq!(error, Failure { reason: "the parent has ended".to_owned(), is_final: false });
        assert_eq!(shared.state(0).unwrap(), State::Open);
        assert_eq!(shared.tasks.get().unwrap().deliveries(), 2);
    }
}

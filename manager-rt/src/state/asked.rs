//! Snapshots that clients ask for. The state machine has no files: whoever runs it writes them.

use std::path::PathBuf;

use crate::count::count_of;
use crate::limits::SNAPSHOTS_WAITING_MAX;
use crate::proto::Fault;
use crate::state::step::ClientId;

/// A call that waits for a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) client: ClientId,
    pub(crate) call: u64,
    /// The file.
    pub(crate) path: PathBuf,
}

/// The snapshots that clients wait for.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// Whether there is anybody who writes them.
    pub(super) are_written: bool,
    /// Those that nobody has begun to write.
    new: Vec<Asked>,
    /// How many are not answered, among them the new ones.
    waiting: usize,
    /// The clients, and the numbers of their calls, that have asked the manager to end, and wait until it is saved.
    ends: Vec<(ClientId, u64)>,
    /// How many saves to the file in which the objects are kept have failed.
    pub(super) failed_saves: u64,
    /// The moment of the last one that has not, in nanoseconds.
    pub(super) last_save: Option<u64>,
}

impl Snapshots {
    /// Adds a call.
    ///
    /// # Errors
    /// [`Fault::Unsupported`], [`Fault::TooMany`].
    pub(super) fn add(&mut self, asked: Asked) -> Result<(), Fault> {
        if !self.are_written {
            return Err(Fault::Unsupported);
        }
        if self.waiting >= SNAPSHOTS_WAITING_MAX {
            return Err(Fault::TooMany { limit: count_of(SNAPSHOTS_WAITING_MAX) });
        }
        self.waiting = self.waiting.saturating_add(1);
        self.new.push(asked);
        Ok(())
    }

    /// Returns the new calls.
    pub(super) fn take(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.new)
    }

    /// Returns `true` if there are new calls.
    pub(super) const fn has_new(&self) -> bool {
        !self.new.is_empty()
    }

    /// Adds a call that waits for the end. Above the limit, it gets no answer: the end of the connection says enough.
    pub(super) fn add_end(&mut self, client: ClientId, call: u64) {
        if self.ends.len() < SNAPSHOTS_WAITING_MAX {
            self.ends.push((client, call));
        }
    }

    /// Returns how many calls wait for the end.
    pub(super) const fn ends(&self) -> usize {
        self.ends.len()
    }

    /// Keeps only the first ones of the calls that wait for the end.
    pub(super) fn keep_ends(&mut self, count: usize) {
        self.ends.truncate(count);
    }

    /// Returns the calls that wait for the end.
    pub(super) fn take_ends(&mut self) -> Vec<(ClientId, u64)> {
        std::mem::take(&mut self.ends)
    }

    /// Records that a call is answered.
    pub(super) const fn is_over(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_calls_wait_as_the_limit_and_not_one_more() {
        let client = ClientId { slot: 0, serial: 1 };
        let asked = || Asked { client, call: 1, path: "/file".into() };
        let mut snapshots = Snapshots::default();
        assert_eq!(snapshots.add(asked()), Err(Fault::Unsupported));
        snapshots.are_written = true;
        for _ in 0..SNAPSHOTS_WAITING_MAX {
            snapshots.add(asked()).unwrap();
        }
        let limit = count_of(SNAPSHOTS_WAITING_MAX);
        assert_eq!(snapshots.add(asked()), Err(Fault::TooMany { limit }));
        assert_eq!(snapshots.take().len(), SNAPSHOTS_WAITING_MAX);
        assert_eq!(snapshots.add(asked()), Err(Fault::TooMany { limit }), "they are not answered");
        snapshots.is_over();
        assert_eq!(snapshots.add(asked()), Ok(()));
    }

    #[test]
    fn as_many_calls_wait_for_the_end_as_the_limit_and_not_one_more() {
        let client = ClientId { slot: 0, serial: 1 };
        let mut snapshots = Snapshots::default();
        (0..=count_of(SNAPSHOTS_WAITING_MAX)).for_each(|call| snapshots.add_end(client, call));
        assert_eq!(snapshots.take_ends().len(), SNAPSHOTS_WAITING_MAX);
        assert_eq!(snapshots.take_ends(), []);
    }
}

//! What all kinds of workers of a group share: the descriptors that are watched, the workers that are asked to end, and the
//! events that were not taken yet.

use std::collections::VecDeque;

use mp_sys::OsError;
use mp_sys::deadline::Deadline;
use mp_sys::ready::ReadySet;

use crate::group::event::GroupEvent;
use crate::group::keep::Keep;
use crate::group::worker::{Sign, Worker};

/// The most events that a group keeps until you take them. Later ones take the places of the oldest.
pub const GROUP_EVENTS_MAX: usize = 4096;

pub(super) struct Core {
    set: ReadySet,
    events: VecDeque<GroupEvent>,
    /// The workers that were asked to end, and have not ended.
    ending: Vec<Worker>,
    newest: u64,
}

impl Core {
    pub(super) fn new() -> Result<Self, OsError> {
        Ok(Self { set: ReadySet::new()?, events: VecDeque::new(), ending: Vec::new(), newest: 0 })
    }

    pub(super) fn set(&self) -> &ReadySet {
        &self.set
    }

    /// Returns a number for another worker.
    pub(super) fn next_number(&mut self) -> u64 {
        self.newest = self.newest.saturating_add(1);
        self.newest
    }

    /// Keeps an event until it is taken.
    pub(super) fn tell(&mut self, event: GroupEvent) {
        tracing::debug!(%event, "an event of a group");
        if self.events.len() >= GROUP_EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    pub(super) fn next_event(&mut self) -> Option<GroupEvent> {
        self.events.pop_front()
    }

    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Returns what has happened to workers.
    pub(super) fn signs(&self) -> Result<Vec<Sign>, OsError> {
        Ok(self.set.ready()?.into_iter().map(Sign::of_word).collect())
    }

    /// Takes a worker, and asks it to end.
    pub(super) fn ask_to_end(&mut self, mut worker: Worker, keep: &Keep) {
        worker.ask_to_end(keep.grace);
        self.ending.push(worker);
    }

    pub(super) fn is_ending(&self, number: u64) -> bool {
        self.ending.iter().any(|worker| worker.number == number)
    }

    pub(super) fn has_ending(&self) -> bool {
        !self.ending.is_empty()
    }

    /// Gives up a worker that has ended.
    pub(super) fn forget(&self, worker: Worker) {
        worker.forget(&self.set);
    }

    /// Handles the end of a worker, if it is one that was asked to end.
    pub(super) fn note_end(&mut self, number: u64) {
        let Some(at) = self.ending.iter().position(|worker| worker.number == number) else { return };
        let Some(outcome) = self.ending.get(at).and_then(Worker::outcome) else { return };
        let worker = self.ending.swap_remove(at);
        self.tell(GroupEvent::Stopped { place: worker.place.clone(), pid: worker.pid(), outcome });
        self.forget(worker);
    }

    /// Records that a worker that was asked to end says that it is ready, so that this is not reported again.
    pub(super) fn note_ready(&mut self, number: u64) {
        if let Some(worker) = self.ending.iter_mut().find(|worker| worker.number == number) {
            worker.note_ready(&self.set);
        }
    }

    /// Kills the workers whose grace period is over, apart from the time for which they were stopped.
    pub(super) fn kill_late(&mut self) {
        let mut ending = std::mem::take(&mut self.ending);
        for worker in &mut ending {
            worker.excuse();
            if worker.kill_late() {
                self.tell(GroupEvent::Killed { place: worker.place.clone(), pid: worker.pid() });
            }
        }
        self.ending = ending;
    }

    /// Kills the workers that were asked to end.
    pub(super) fn kill_all(&self) {
        self.ending.iter().for_each(Worker::kill);
    }

    /// When there is something to do about those workers, if nothing happens before.
    pub(super) fn due(&self) -> Deadline {
        self.ending.iter().map(Worker::due).min().unwrap_or(Deadline::NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_events_are_kept() {
        let mut core = Core::new().unwrap();
        let event = |number: usize| GroupEvent::Reloaded { kind: number.to_string().into() };
        for number in 0..GROUP_EVENTS_MAX {
            core.tell(event(number));
        }
        assert_eq!(core.events.front(), Some(&event(0)));
        core.tell(event(GROUP_EVENTS_MAX));
        assert_eq!(core.events.len(), GROUP_EVENTS_MAX);
        assert_eq!(core.next_event(), Some(event(1)));
        assert_eq!(core.events.back(), Some(&event(GROUP_EVENTS_MAX)));
    }
}

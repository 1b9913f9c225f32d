//! Runs: the pending calls of a pipeline, whose numbers follow one another.
//!
//! One thread waits for all calls of a run. While that thread reads, it keeps the answers itself. Answers that another
//! thread reads meanwhile are collected here, and the last of them wakes the owner.

use std::thread::{self, Thread};

use super::{Arrived, Calls, Progress};
use crate::client::answer::Undo;
use crate::client::answer::Unreadable::{self, Malformed};
use crate::count::count_of;
use crate::proto::{Answer, Payload};

/// The calls of a pipeline.
#[derive(Debug)]
pub(super) struct Run {
    first: u64,
    /// The number of calls.
    count: u64,
    thread: u64,
    /// How to undo the answers of those calls whose answers have an effect, in order.
    undos: Vec<(u64, Undo)>,
    /// The answers that other threads have read.
    arrived: Vec<(u64, Arrived)>,
    /// The owner goes on when this many have arrived.
    wanted: usize,
    parked: Option<Thread>,
    is_due: bool,
    /// The number of the first answer that brought something which only the server can take back.
    held_back: Option<u64>,
}

impl Run {
    /// Returns `true` if the run begins with this call.
    pub(super) const fn is(&self, call: u64) -> bool {
        self.first == call
    }

    /// Returns the number of the first answer that must not count as read before the run is over.
    pub(super) const fn held_back(&self) -> Option<u64> {
        self.held_back
    }

    /// Returns how to undo the answer to a call.
    fn undo(&self, call: u64) -> Undo {
        let found = self.undos.binary_search_by_key(&call, |(number, _)| *number);
        found.ok().and_then(|at| self.undos.get(at)).map_or(Undo::Nothing, |(_, undo)| *undo)
    }

    fn contains(&self, call: u64) -> bool {
        call.checked_sub(self.first).is_some_and(|place| place < self.count)
    }

    /// Returns where the owner sleeps, and whether it is due.
    pub(super) const fn sleeper(&mut self) -> (&mut Option<Thread>, &mut bool) {
        (&mut self.parked, &mut self.is_due)
    }

    /// Wakes the owner, since no more answers will arrive.
    pub(super) fn end(&mut self) {
        if let Some(thread) = self.parked.take() {
            thread.unpark();
        }
    }
}

impl Calls {
    /// Registers as many calls as `added`, which are about to be written and follow those of the run that begins with
    /// `first`. `undos` names those whose answers have an effect.
    pub(in crate::client) fn extend_run(
        &mut self,
        (first, added): (u64, u64),
        thread: u64,
        mut undos: Vec<(u64, Undo)>,
    ) {
        if let Some(run) = self.run(first) {
            run.count = run.count.saturating_add(added);
            run.undos.append(&mut undos);
            return;
        }
        let (arrived, parked) = (Vec::new(), None);
        self.runs.push(Run {
            first,
            count: added,
            thread,
            undos,
            arrived,
            wanted: usize::MAX,
            parked,
            is_due: false,
            held_back: None,
        });
    }

    /// Releases the references that came with answers that nobody reads.
    pub(in crate::client) fn release(
        &mut self,
        answers: &[Option<Answer<Payload>>],
        numbers: impl Fn() -> (u64, u64),
    ) {
        for reply in answers.iter().flatten().flatten() {
            let (call, read) = numbers();
            self.undo_reply(reply, Undo::Nothing, 0, (call, read), call);
        }
    }

    /// Removes and returns the answers of a run that other threads have read.
    pub(in crate::client) fn take_arrived(&mut self, first: u64) -> Vec<(u64, Arrived)> {
        self.run(first).map(|run| std::mem::take(&mut run.arrived)).unwrap_or_default()
    }

    /// Removes a run that is over, or whose calls will never be answered.
    pub(in crate::client) fn forget_run(&mut self, first: u64) {
        self.runs.retain(|run| !run.is(first));
    }

    /// Records that the calling thread is about to park until this many calls of the run are answered.
    pub(in crate::client) fn park_run(&mut self, first: u64, wanted: usize) {
        if let Some(run) = self.run(first) {
            run.wanted = wanted;
            run.parked = Some(thread::current());
            self.parked.push(first);
        }
    }

    /// Records that the calling thread is awake again.
    pub(in crate::client) fn unparked_run(&mut self, first: u64) {
        let Some(run) = self.run(first) else { return };
        run.parked = None;
        if std::mem::take(&mut run.is_due) {
            self.due = self.due.saturating_sub(1);
        }
        self.parked.retain(|parked| *parked != first);
    }

    /// Gives up the calls of a run before `unsent`. `answers` are those that the owner has already, which are undone.
    /// `numbers` returns those of a notice.
    pub(in crate::client) fn abandon_run(
        &mut self,
        first: u64,
        unsent: u64,
        answers: &[Option<Answer<Payload>>],
        numbers: impl Fn() -> (u64, u64),
    ) {
        let Some(place) = self.runs.iter().position(|run| run.is(first)) else { return };
        // As long as the run is there, the notices do not say that its items were read.
        let numbers: Vec<_> = (first..unsent).map(|_| numbers()).collect();
        let mut run = self.runs.swap_remove(place);
        for (call, answer) in (first..unsent).zip(answers) {
            if answer.is_none() {
                self.begin(call, run.thread, run.undo(call));
            }
        }
        for (call, arrived) in std::mem::take(&mut run.arrived) {
            if let Some(slot) = self.slots.get_mut(&call) {
                slot.progress = Progress::Arrived(arrived);
            }
        }
        // The newest first, since each item is put back in front of all others.
        for ((call, answer), numbers) in
            (first..unsent).zip(answers).zip(numbers).collect::<Vec<_>>().into_iter().rev()
        {
            match answer {
                Some(Ok(reply)) => drop(self.undo_reply(reply, run.undo(call), run.thread, numbers, call)),
                Some(Err(_)) => {}
                None => self.abandon(call, numbers),
            }
        }
    }

    /// Records that the owner of a run has read the answer of this number itself, and has not handed it on.
    pub(in crate::client) fn hold_back_run(&mut self, call: u64, read: u64) {
        if let Some(run) = self.runs.iter_mut().find(|run| run.contains(call)) {
            run.held_back.get_or_insert(read);
        }
    }

    /// Enters an answer of a run; `read` is the number of earlier answers.
    ///
    /// # Errors
    /// [`Malformed`] if there is no such call.
    pub(super) fn deliver_to_run(&mut self, call: u64, answer: Arrived, read: u64) -> Result<(), Unreadable> {
        let run = self.runs.iter_mut().find(|run| run.contains(call)).ok_or(Malformed)?;
        if count_of(run.arrived.len()) >= run.count {
            return Err(Malformed);
        }
        run.arrived.push((call, answer));
        if run.undo(call).needs_server() {
            run.held_back.get_or_insert(read);
        }
        if run.arrived.len() >= run.wanted {
            let first = run.first;
            let woken = self.wake(first);
            self.woken.extend(woken);
        }
        Ok(())
    }

    fn run(&mut self, first: u64) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.is(first))
    }
}

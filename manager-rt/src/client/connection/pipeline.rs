//! Pipelines: many calls that are written before the first answer is read.
//!
//! The frames are written in portions, so the server runs the first calls while the later ones are recorded. The calls
//! have numbers that follow one another and are registered as one [`run`](crate::client::calls), and the thread that
//! waits for them usually reads their answers itself.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mp_sys::adaptive::current_cpu;
use mp_sys::deadline::Deadline;

use super::acknowledging::taken_bytes;
use super::reading::Owner;
use super::waiting::park;
use super::writing::Sent;
use super::{Connection, Failure};
use crate::client::answer::Unreadable::{self, Malformed};
use crate::client::answer::{Undo, decode};
use crate::client::calls::{Arrived, Calls};
use crate::count::{count_of, index_of};
use crate::proto::version::CALLS_TOGETHER_SINCE;
use crate::proto::{Answer, Fault, Payload, Raw, Step, Travels};
use crate::wire::recorded::Recorded;

/// The numbers that are reserved for a pipeline whose length is not known yet. There are enough numbers for as many such
/// pipelines.
pub(in crate::client) const CALLS_MAX: u64 = 1 << 32;

/// The calls of a pipeline, and their answers so far.
#[derive(Debug)]
pub(in crate::client) struct Run {
    first: u64,
    /// The end of the numbers that are reserved for it.
    end: u64,
    answers: Vec<Option<Answer<Payload>>>,
    /// The places of the calls that take items out of queues.
    takers: Vec<usize>,
    /// The places of the calls whose answers only the server can undo.
    held: Vec<usize>,
    /// Whether the server must not count the answer to one of them as read.
    is_holding: bool,
    /// Whether no other answer can follow before the next call, once all are there.
    is_last: bool,
    /// The number of calls without an answer.
    missing: usize,
    /// The first call that was not written.
    unsent: u64,
    /// Whether no more calls can be written, because the connection has ended or the time is over.
    is_over: bool,
    /// Whether the time is over.
    is_late: bool,
}

impl Run {
    fn place(&self, call: u64) -> Option<usize> {
        call.checked_sub(self.first).map(index_of).filter(|place| *place < self.answers.len())
    }

    /// Returns the number of the next call.
    fn next(&self) -> u64 {
        self.first.saturating_add(count_of(self.answers.len()))
    }

    /// Makes places for more calls. Those that are not sent have their answers already.
    fn extend(&mut self, portion: &Recorded) {
        let begin = self.answers.len();
        self.answers.resize_with(begin.saturating_add(portion.len()), || None);
        self.missing = self.missing.saturating_add(portion.len());
        let takers = portion.undos().iter().filter(|(_, undo)| *undo == Undo::Items);
        self.takers.extend(takers.map(|(place, _)| begin.saturating_add(*place)));
        let held = portion.undos().iter().filter(|(_, undo)| undo.needs_server());
        self.held.extend(held.map(|(place, _)| begin.saturating_add(*place)));
        for (place, fault) in portion.refused() {
            if let Some(answer) = self.answers.get_mut(begin.saturating_add(*place)) {
                *answer = Some(Err(*fault));
                self.missing = self.missing.saturating_sub(1);
            }
        }
    }

    /// Enters an answer that another thread has read.
    fn enter(&mut self, (call, arrived): (u64, Arrived)) -> Result<(), Unreadable> {
        self.keep(call, decode(arrived.kind, &arrived.body, &arrived.body)?)
    }
}

impl Owner for Run {
    #[inline]
    fn owns(&self, call: u64) -> bool {
        self.place(call).is_some()
    }

    #[inline]
    fn holds_back(&self, call: u64) -> bool {
        !self.is_holding
            && !self.held.is_empty()
            && self.place(call).is_some_and(|place| self.held.binary_search(&place).is_ok())
    }

    #[inline]
    fn keep(&mut self, call: u64, answer: Answer<Payload>) -> Result<(), Unreadable> {
        self.is_holding |= self.holds_back(call);
        let place = self.place(call).and_then(|place| self.answers.get_mut(place));
        let place = place.filter(|place| place.is_none()).ok_or(Malformed)?;
        *place = Some(answer);
        self.missing = self.missing.saturating_sub(1);
        Ok(())
    }

    #[inline]
    fn is_done(&self) -> bool {
        self.missing == 0
    }

    fn forget(&mut self, calls: &mut Calls) {
        calls.forget_run(self.first);
        self.is_last = calls.is_idle();
    }
}

impl Connection {
    /// Sends several operations, and returns their answers in order. An operation that is too long is not sent, and has
    /// [`Fault::TooLarge`] as its answer.
    ///
    /// # Errors
    /// The [`Failure`] of the first call without an answer.
    pub(in crate::client) fn pipeline(
        &self,
        thread: u64,
        steps: &[Step<Raw<'_>>],
        deadline: Deadline,
    ) -> Result<Vec<Answer<Payload>>, Failure> {
        steps.iter().try_for_each(|step| self.check_version(step.op.since()))?;
        let (mut portion, mut run) = (Recorded::by(thread), None);
        for Step { object, op } in steps {
            portion.add(*object, op);
            if portion.is_portion() {
                self.send_portion(&mut run, &mut portion, count_of(steps.len()), deadline)?;
                portion.clear();
            }
        }
        self.send_portion(&mut run, &mut portion, count_of(steps.len()), deadline)?;
        run.map_or(Ok(Vec::new()), |run| self.collect(run, deadline))
    }

    /// Sends a portion of a pipeline, which begins with it if there is no run yet. Then as many numbers as `reserved` are
    /// reserved for the pipeline.
    ///
    /// # Errors
    /// [`Failure::NotSent`] or [`Failure::NotBegun`] if no call of the pipeline can have been understood;
    /// [`Failure::NeedsVersion`]; [`Failure::Refused`] for more calls than were reserved.
    pub(in crate::client) fn send_portion(
        &self,
        run: &mut Option<Run>,
        portion: &mut Recorded,
        reserved: u64,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        self.check_version(portion.since())?;
        if self.agreed.version < CALLS_TOGETHER_SINCE {
            portion.separate();
        }
        if let Some(run) = run {
            return self.write_portion(run, portion, deadline);
        }
        let first = self.next_call.fetch_add(reserved, Ordering::Relaxed);
        let end = first.saturating_add(reserved);
        let (answers, takers, held) = (Vec::new(), Vec::new(), Vec::new());
        let (missing, unsent, is_holding, is_last) = (0, first, false, false);
        let (is_over, is_late) = (false, false);
        let mut new =
            Run { first, end, answers, takers, held, is_holding, is_last, missing, unsent, is_over, is_late };
        let written = self.write_portion(&mut new, portion, deadline);
        if written.is_ok() {
            *run = Some(new);
            return Ok(());
        }
        let mut calls = self.lock();
        calls.forget_run(first);
        let next = calls.hand_on();
        drop(calls);
        next.wake();
        written
    }

    fn write_portion(
        &self,
        run: &mut Run,
        portion: &mut Recorded,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        if run.is_over {
            // The answers that are missing show why.
            return Ok(());
        }
        let (first, begin, count) = (run.first, run.next(), count_of(portion.len()));
        if count > run.end.saturating_sub(begin) {
            return Err(Failure::Refused(Fault::TooMany { limit: run.end.saturating_sub(first) }));
        }
        run.extend(portion);
        let place = |place: usize| begin.saturating_add(count_of(place));
        let undos: Vec<_> = portion.undos().iter().map(|(at, undo)| (place(*at), *undo)).collect();
        let thread = portion.thread();
        let is_full = portion.is_portion();
        let calls = self.lock();
        // Under the lock: see `acknowledging`.
        let report = self.report();
        let frames = portion.numbered(begin, report.read);
        let extend = |calls: &mut Calls| calls.extend_run((first, count), thread, undos);
        let sent = self.put(calls, frames.into(), extend, run, deadline);
        if is_full && self.peer_cpu() != Some(current_cpu()) {
            // Recording the next portion takes a while, and a client that has its answer may be waiting for this CPU. If the
            // server is here, it would only run in shorter pieces.
            std::thread::yield_now();
        }
        let (is_first, is_gone) = (begin == first, !self.is_usable());
        match sent {
            Sent::Nothing if is_first && is_gone => return Err(Failure::NotSent),
            Sent::Nothing if is_first => return Err(Failure::NotBegun),
            // A single incomplete frame was not understood.
            Sent::Partly if is_first && is_gone && count == 1 => return Err(Failure::NotSent),
            Sent::Nothing => (run.is_over, run.is_late) = (true, !is_gone),
            Sent::Whole | Sent::Partly => {
                self.has_told(report);
                run.unsent = run.next();
                // The reader finds the end.
                run.is_over = sent == Sent::Partly && is_gone;
            }
        }
        Ok(())
    }

    /// Waits for the answers of a run, and returns them in order.
    ///
    /// # Errors
    /// The [`Failure`] of the first call without an answer.
    pub(in crate::client) fn collect(
        &self,
        mut run: Run,
        deadline: Deadline,
    ) -> Result<Vec<Answer<Payload>>, Failure> {
        // If its rest could not be sent in time, the time is over. What has arrived is not waited for once more.
        let deadline = if run.is_late { Deadline::after(Duration::ZERO) } else { deadline };
        self.wait_for_run(&mut run, deadline)?;
        let taken = run.takers.iter().filter_map(|place| run.answers.get(*place)?.as_ref());
        let taken = taken.map(|answer| taken_bytes(Undo::Items, answer)).fold(0, usize::saturating_add);
        let call =
            |place: Option<&usize>| run.first.saturating_add(place.map_or(0, |place| count_of(*place)));
        let calls = call(run.takers.first())..=call(run.takers.last());
        self.acknowledge(taken, calls, run.is_last, deadline);
        // None is missing.
        let whole = |answer: Option<Answer<Payload>>| answer.unwrap_or(Err(Fault::Malformed));
        Ok(run.answers.into_iter().map(whole).collect())
    }

    /// Waits for the answers of a run that nobody reads, and releases the references that come with them.
    pub(in crate::client) fn give_up(&self, mut run: Run, deadline: Deadline) {
        // Otherwise its calls were given up, or the connection has ended.
        if self.wait_for_run(&mut run, deadline).is_ok() {
            self.lock().release(&run.answers, || (self.next_call(), self.report().read));
            self.flush();
        }
    }

    /// Waits for the answers of a run. Meanwhile, reads for all if no other thread does.
    fn wait_for_run(&self, run: &mut Run, deadline: Deadline) -> Result<(), Failure> {
        let mut calls = self.lock();
        loop {
            let arrived = calls.take_arrived(run.first);
            if !arrived.is_empty() {
                // They may be many, so they are decoded without the lock.
                drop(calls);
                arrived
                    .into_iter()
                    .try_for_each(|arrived| run.enter(arrived))
                    .map_err(|error| self.end_unreadable(error))?;
                calls = self.lock();
                if !run.is_done() {
                    // Meanwhile another thread may have read more of them, and woken nobody.
                    continue;
                }
            }
            if run.is_done() {
                run.forget(&mut calls);
                self.hold_back(&calls);
                let next = calls.hand_on();
                drop(calls);
                next.wake();
                return Ok(());
            }
            if let Some(end) = calls.ended() {
                calls.forget_run(run.first);
                return Err(end.into());
            }
            if deadline.has_passed() {
                let numbers = || (self.next_call(), self.report().read);
                calls.abandon_run(run.first, run.unsent, &run.answers, numbers);
                self.left(calls);
                return Err(Failure::Late);
            }
            if let Some(inbox) = calls.take_inbox() {
                drop(calls);
                self.lead(run, inbox, deadline);
                if run.is_done() {
                    return Ok(());
                }
                calls = self.lock();
            } else {
                calls.park_run(run.first, run.missing);
                drop(calls);
                park(deadline);
                calls = self.lock();
                calls.unparked_run(run.first);
            }
        }
    }
}

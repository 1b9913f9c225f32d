//! Pipelines: many calls that are written before the first answer is read.
//!
//! The frames are written in pieces, so the server runs the first calls while the later ones are encoded. The calls have
//! numbers that follow one another and are registered as one [`run`](crate::client::calls), and the thread that waits for
//! them usually reads their answers itself.

use std::sync::atomic::Ordering;

use mp_sys::deadline::Deadline;

use super::reading::Owner;
use super::waiting::park;
use super::writing::Sent;
use super::{Connection, Failure};
use crate::client::answer::Unreadable::{self, Malformed};
use crate::client::answer::{Undo, decode};
use crate::client::calls::{Arrived, Calls};
use crate::count::{count_of, index_of};
use crate::proto::{Answer, Fault, LentCall, Payload, Raw, Step, Wait};
use crate::wire::encode;
use crate::wire::frame::FrameKind;

/// The bytes of frames that are written at once. A server reads twice as much in one turn.
const PIECE_BYTES: usize = 32 << 10;

/// The calls of a pipeline, and their answers so far.
struct Run {
    first: u64,
    answers: Vec<Option<Answer<Payload>>>,
    /// The number of calls without an answer.
    missing: usize,
    /// The first call that was not written.
    unsent: u64,
}

impl Run {
    fn place(&self, call: u64) -> Option<usize> {
        call.checked_sub(self.first).map(index_of).filter(|place| *place < self.answers.len())
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
    fn keep(&mut self, call: u64, answer: Answer<Payload>) -> Result<(), Unreadable> {
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

    fn forget(&self, calls: &mut Calls) {
        calls.forget_run(self.first);
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
        steps.iter().try_for_each(|step| self.check_version(&step.op))?;
        let count = count_of(steps.len());
        let first = self.next_call.fetch_add(count, Ordering::Relaxed);
        let answers = std::iter::repeat_with(|| None).take(steps.len()).collect();
        let mut run = Run { first, answers, missing: steps.len(), unsent: first.saturating_add(count) };
        let mut buffer = encode::buffer();
        let sent = self.send_all(&mut run, &mut buffer, (thread, steps), deadline);
        encode::keep(buffer);
        if let Err(failure) = sent {
            let mut calls = self.lock();
            calls.forget_run(first);
            let next = calls.hand_on();
            drop(calls);
            next.wake();
            return Err(failure);
        }
        self.wait_for_run(&mut run, deadline)?;
        // None is missing.
        let whole = |answer: Option<Answer<Payload>>| answer.unwrap_or(Err(Fault::Malformed));
        Ok(run.answers.into_iter().map(whole).collect())
    }

    /// Encodes and writes the calls of a run, piece by piece.
    ///
    /// # Errors
    /// [`Failure::NotSent`] or [`Failure::NotBegun`] if no call can have been understood.
    fn send_all(
        &self,
        run: &mut Run,
        buffer: &mut Vec<u8>,
        (thread, steps): (u64, &[Step<Raw<'_>>]),
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let calls = (run.first, count_of(steps.len()));
        let undos = (run.first..).zip(steps).map(|(call, step)| (call, Undo::of(step.object, &step.op)));
        let mut begin = Some(undos.filter(|(_, undo)| *undo != Undo::Nothing).collect());
        let (mut piece, last) = (run.first, run.unsent.saturating_sub(1));
        for (call, Step { object, op }) in (run.first..).zip(steps) {
            let lent = LentCall { object: *object, thread, wait: Wait::No, op };
            if let Err(fault) = encode::frame(buffer, FrameKind::Call, (call, self.read_so_far()), &lent) {
                // It has no answer yet.
                let _kept = run.keep(call, Err(fault));
            }
            if buffer.len() < PIECE_BYTES && call != last {
                continue;
            }
            let undos = begin.take();
            let is_first = undos.is_some();
            let register = |pending: &mut Calls| {
                if let Some(undos) = undos {
                    pending.begin_run(calls, thread, undos);
                }
            };
            let sent = self.put(buffer, register, run, deadline);
            buffer.clear();
            let is_gone = !self.is_usable();
            match sent {
                Sent::Nothing if is_first => {
                    return Err(if is_gone { Failure::NotSent } else { Failure::NotBegun });
                }
                // A single incomplete frame was not understood.
                Sent::Partly if is_first && is_gone && piece == last => return Err(Failure::NotSent),
                Sent::Nothing => {
                    run.unsent = piece;
                    return Ok(());
                }
                // The reader finds the end.
                Sent::Partly if is_gone => return Ok(()),
                Sent::Whole | Sent::Partly => {}
            }
            piece = call.saturating_add(1);
        }
        Ok(())
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
                calls.forget_run(run.first);
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
                let numbers = || (self.next_call(), self.read_so_far());
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

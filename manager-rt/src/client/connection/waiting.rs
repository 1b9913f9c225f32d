//! Waiting for the answer to a call, and giving it up.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use mp_sys::deadline::Deadline;

use super::reading::{Own, Received};
use super::{Connection, Failure};
use crate::client::answer::{Undo, Unreadable, decode};
use crate::client::calls::{Arrived, Calls, End};
use crate::proto::{Answer, Call, Payload, Raw, Travels};
use crate::wire::control::Control;
use crate::wire::frame::FrameKind;

/// How long a server may take to show that it lives.
const LIFE_PATIENCE: Duration = Duration::from_secs(2);

impl Connection {
    /// Runs one operation that goes on after its timeout, for as long as the server lives.
    ///
    /// # Errors
    /// [`Failure`]; [`Failure::Late`] if there is no sign of life after the deadline.
    pub(in crate::client) fn outlast(
        &self,
        call: &Call<Raw<'_>>,
        deadline: Deadline,
    ) -> Result<Answer<Payload>, Failure> {
        self.check_version(call.since())?;
        let number = self.next_call();
        let undo = Undo::of(call.object, &call.op);
        self.post(FrameKind::Call, number, (call, call.long()), deadline, (call.thread, undo))?;
        if let Some(outcome) = self.wait_until(number, deadline) {
            return outcome.map(|received| received.answer);
        }
        // Whoever reads, the answer to the call is kept until the next wait.
        match self.ping(call.thread, Deadline::after(LIFE_PATIENCE)) {
            Err(Failure::Late | Failure::NotBegun) => {
                self.leave(self.lock(), number);
                Err(Failure::Late)
            }
            _ => self.wait(number, Deadline::NEVER).map(|received| received.answer),
        }
    }

    /// Asks the server for a sign of life.
    fn ping(&self, thread: u64, deadline: Deadline) -> Result<Answer<Payload>, Failure> {
        let number = self.next_call();
        let ping = Control::Ping.sent_by(thread);
        self.post(FrameKind::Call, number, (&ping, &[]), deadline, (thread, Undo::Nothing))?;
        self.wait(number, deadline).map(|received| received.answer)
    }

    /// Waits for the answer to a call, and gives the call up at the deadline.
    pub(super) fn wait(&self, number: u64, deadline: Deadline) -> Result<Received, Failure> {
        self.wait_until(number, deadline).unwrap_or_else(|| {
            self.leave(self.lock(), number);
            Err(Failure::Late)
        })
    }

    /// Waits for the answer to a call, or returns `None` at the deadline. Meanwhile, reads for all if no other thread
    /// does.
    fn wait_until(&self, number: u64, deadline: Deadline) -> Option<Result<Received, Failure>> {
        let mut calls = self.lock();
        loop {
            if let Some(Arrived { kind, body }) = calls.take_answer(number) {
                let is_last = calls.is_idle();
                let next = calls.hand_on();
                drop(calls);
                next.wake();
                let answer = decode(kind, &body, &body).map_err(|error| self.end_unreadable(error));
                return Some(answer.map(|answer| Received { answer, is_last }));
            }
            if let Some(end) = calls.ended() {
                calls.forget(number);
                return Some(Err(end.into()));
            }
            if deadline.has_passed() {
                // The caller may be the only thread that was woken to read.
                let next = calls.hand_on();
                drop(calls);
                next.wake();
                return None;
            }
            if let Some(inbox) = calls.take_inbox() {
                drop(calls);
                let mut own = Own::of(number);
                self.lead(&mut own, inbox, deadline);
                if let Some(received) = own.into_received() {
                    return Some(Ok(received));
                }
                calls = self.lock();
            } else {
                calls.park(number);
                drop(calls);
                park(deadline);
                calls = self.lock();
                calls.unparked(number);
            }
        }
    }

    /// Gives up a call: cancels it at the server, and undoes its answer when that arrives.
    pub(super) fn leave(&self, mut calls: MutexGuard<'_, Calls>, number: u64) {
        calls.abandon(number, (self.next_call(), self.report().read));
        self.left(calls);
    }

    /// Lets another thread read in place of one that has given up, and writes the notices of that.
    pub(super) fn left(&self, mut calls: MutexGuard<'_, Calls>) {
        let next = calls.hand_on();
        let has_ended = calls.ended().is_some();
        self.release(calls);
        next.wake();
        if has_ended {
            self.is_usable.store(false, Ordering::Relaxed);
            self.sever();
        }
        self.flush();
    }

    pub(super) fn end_unreadable(&self, error: Unreadable) -> Failure {
        self.end(self.lock(), End::Unreadable(error));
        Failure::Unreadable(error)
    }
}

/// Parks the calling thread, at most until the deadline.
pub(super) fn park(deadline: Deadline) {
    if deadline.is_never() {
        thread::park();
    } else {
        thread::park_timeout(deadline.remaining());
    }
}

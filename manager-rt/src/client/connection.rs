//! One connection, which all threads of a process use at the same time.
//!
//! A call is registered, written and waited for. Whoever waits reads for all, if nobody else does: see [`Calls`] for how that
//! role passes on. Only one thread writes at a time; others put their frames into the outbox, which the writer empties before
//! it leaves. The lock is not held while a thread sleeps. The reader sleeps for a slice, and after that until something arrives
//! or somebody leaves a rest that the socket did not take: see [`Alarm`].
//!
//! **Writing never waits for reading.** A server that cannot get rid of its answers may stop reading. So a writer that finds the socket
//! full reads as well, or sees to it that somebody does.
//!
//! **Reading is adaptive**, as everywhere (see [`mp_sys::adaptive`]): each frame says on which CPU its sender ran.

mod reading;
mod writing;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use mp_sys::adaptive::Budget;
use mp_sys::deadline::Deadline;
use mp_sys::stream::Stream;

use super::alarm::Alarm;
use super::answer::{Malformed, Undo, decode};
use super::calls::{Arrived, Calls, End};
use super::encode;
use crate::proto::frame::{Answer, Call, FrameKind};
use crate::proto::{Fault, ObjectId, Op, Payload, Raw};

/// Bytes that may wait to be written when a notice comes. A server that has not read that much in between is of no use.
const OUTBOX_BYTES_MAX: usize = 256 << 20;

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server is gone, and cannot have read the call: it was not written whole.
    NotSent,
    /// The time was over before the first byte could be written.
    NotBegun,
    /// The connection ended before the answer came, or the time was over.
    Unknown,
    /// What came is no answer.
    Malformed,
    /// It is no call that can be sent.
    Refused(Fault),
}

impl From<End> for Failure {
    fn from(end: End) -> Self {
        match end {
            End::Gone => Self::Unknown,
            End::Malformed => Self::Malformed,
        }
    }
}

/// A call that is about to be sent.
#[derive(Debug, Clone, Copy)]
struct Begun {
    number: u64,
    thread: u64,
    undo: Undo,
}

/// A connection to a manager.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    /// Its number among those of this process.
    pub(super) serial: u64,
    calls: Mutex<Calls>,
    next_call: AtomicU64,
    /// Answers that were read; stored by the reader only.
    read: AtomicU64,
    /// Whether something can be written still.
    is_usable: AtomicBool,
    /// Where the newest frame came from, plus one; 0 while unknown.
    peer_cpu: AtomicU32,
    budget: Budget,
    alarm: Alarm,
}

impl Connection {
    pub(super) fn new(stream: Stream, serial: u64) -> Self {
        Self {
            stream,
            serial,
            calls: Mutex::new(Calls::new()),
            next_call: AtomicU64::new(1),
            read: AtomicU64::new(0),
            is_usable: AtomicBool::new(true),
            peer_cpu: AtomicU32::new(0),
            budget: Budget::new(),
            alarm: Alarm::default(),
        }
    }

    /// Whether a further call may work.
    pub(super) fn is_usable(&self) -> bool {
        self.is_usable.load(Ordering::Relaxed)
    }

    /// Ends it as the death of this process would.
    pub(super) fn sever(&self) {
        if let Ok(file) = self.stream.file() {
            let ended = rustix::net::shutdown(file, rustix::net::Shutdown::Both);
            tracing::debug!(?ended, "a connection is severed");
        }
    }

    /// Asks for one operation.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn call(&self, call: &Call<Raw<'_>>, deadline: Deadline) -> Result<Answer<Payload>, Failure> {
        let number = self.next_call();
        self.exchange(FrameKind::Call, number, call, deadline, (call.thread, Undo::of(call)))
    }

    /// Asks for several operations as one, with a body that says which.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn transaction(
        &self,
        steps: &impl serde::Serialize,
        deadline: Deadline,
    ) -> Result<Answer<Payload>, Failure> {
        self.exchange(FrameKind::Transaction, self.next_call(), steps, deadline, (0, Undo::Items))
    }

    #[inline]
    fn exchange(
        &self,
        kind: FrameKind,
        number: u64,
        body: &impl serde::Serialize,
        deadline: Deadline,
        (thread, undo): (u64, Undo),
    ) -> Result<Answer<Payload>, Failure> {
        let mut buffer = encode::buffer();
        let encoded = encode::frame(&mut buffer, kind, (number, self.read_so_far()), body);
        let sent = encoded
            .map_err(Failure::Refused)
            .and_then(|()| self.send(&buffer, &[Begun { number, thread, undo }], deadline));
        encode::keep(buffer);
        sent.and_then(|()| self.wait(number, deadline))
    }

    /// Asks for several operations in one write, and gives the answers in order.
    ///
    /// # Errors
    /// [`Failure`] of the first call without an answer.
    pub(super) fn pipeline(
        &self,
        calls: &[Call<Raw<'_>>],
        deadline: Deadline,
    ) -> Result<Vec<Answer<Payload>>, Failure> {
        let mut buffer = encode::buffer();
        let mut entries = Vec::with_capacity(calls.len());
        for call in calls {
            let number = self.next_call();
            let numbers = (number, self.read_so_far());
            if let Err(fault) = encode::frame(&mut buffer, FrameKind::Call, numbers, call) {
                return Err(Failure::Refused(fault));
            }
            entries.push(Begun { number, thread: call.thread, undo: Undo::of(call) });
        }
        let sent = self.send(&buffer, &entries, deadline);
        encode::keep(buffer);
        sent?;
        let mut answers = Vec::with_capacity(calls.len());
        let mut numbers = entries.iter().map(|begun| begun.number);
        while let Some(number) = numbers.next() {
            match self.wait(number, deadline) {
                Ok(answer) => answers.push(answer),
                Err(failure) => {
                    numbers.for_each(|number| self.leave(self.lock(), number));
                    return Err(failure);
                }
            }
        }
        Ok(answers)
    }

    /// Tells something that has no answer. Never waits.
    pub(super) fn notice(&self, thread: u64, object: ObjectId, op: Op<Raw<'_>>) {
        let numbers = (self.next_call(), self.read_so_far());
        let mut calls = self.lock();
        if calls.ended().is_some() {
            return;
        }
        if calls.outbox.len() > OUTBOX_BYTES_MAX {
            self.end(calls, End::Gone);
            return;
        }
        calls.notice(numbers, thread, object, op);
        drop(calls);
        self.flush();
    }

    /// Whether its reader sleeps until something arrives.
    #[cfg(test)]
    pub(super) fn is_asleep(&self) -> bool {
        self.lock().is_asleep
    }

    fn next_call(&self) -> u64 {
        self.next_call.fetch_add(1, Ordering::Relaxed)
    }

    fn read_so_far(&self) -> u64 {
        self.read.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, mut calls: MutexGuard<'_, Calls>, end: End) {
        self.is_usable.store(false, Ordering::Relaxed);
        calls.end(end);
        drop(calls);
        // A reader that sleeps finds the end.
        self.sever();
    }

    // ---- waiting ----

    /// Waits for the answer to a call, and reads for all meanwhile if nobody else does.
    fn wait(&self, number: u64, deadline: Deadline) -> Result<Answer<Payload>, Failure> {
        loop {
            let mut calls = self.lock();
            if let Some(Arrived { kind, body }) = calls.take_answer(number) {
                calls.hand_on();
                drop(calls);
                return decode(kind, &body, &body).map_err(|Malformed| self.end_malformed());
            }
            if let Some(end) = calls.ended() {
                calls.forget(number);
                return Err(end.into());
            }
            if deadline.has_passed() {
                self.leave(calls, number);
                return Err(Failure::Unknown);
            }
            if let Some(inbox) = calls.take_inbox() {
                drop(calls);
                if let Some(answer) = self.lead(number, inbox, deadline) {
                    return Ok(answer);
                }
            } else {
                calls.park(number);
                drop(calls);
                if deadline.is_never() {
                    thread::park();
                } else {
                    thread::park_timeout(deadline.remaining());
                }
                self.lock().unparked(number);
            }
        }
    }

    /// Nobody waits for this call any more: the server is told, and its answer will be undone.
    fn leave(&self, mut calls: MutexGuard<'_, Calls>, number: u64) {
        calls.abandon(number, (self.next_call(), self.read_so_far()));
        calls.hand_on();
        let has_ended = calls.ended().is_some();
        drop(calls);
        if has_ended {
            self.is_usable.store(false, Ordering::Relaxed);
            self.sever();
        }
        self.flush();
    }

    fn end_malformed(&self) -> Failure {
        self.end(self.lock(), End::Malformed);
        Failure::Malformed
    }
}

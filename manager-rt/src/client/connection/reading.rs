//! Reading answers from the socket, and handing them to the waiting threads.
//!
//! One thread reads for all. It waits for a slice, in one system call. If nothing arrives, it waits until something
//! does, or until a thread leaves a rest that the socket did not accept (see [`super::super::alarm`]).

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use mp_sys::adaptive::current_cpu;
use mp_sys::deadline::Deadline;
use mp_sys::ready::readable_later;
use mp_sys::stream::{Interest, ReadFailure, SLICE};

use super::Connection;
use crate::client::answer::Unreadable::{self, Malformed};
use crate::client::answer::{decode, split_first, take_first};
use crate::client::calls::{Calls, End};
use crate::client::inbox::{Body, Inbox};
use crate::proto::{Answer, Payload};
use crate::wire::frame::{CROWDED, FrameKind, Head};

/// See [`CROWDED`].
const CROWDED_CPU: u32 = CROWDED as u32 - 1;

/// How many times a client of a crowd lets others run before it sleeps.
const YIELDS_IN_CROWD: u32 = 2;

/// The result of a look at the socket.
#[derive(Debug, Clone, Copy)]
pub(super) enum Look {
    Bytes(usize),
    Nothing,
    Ended,
}

/// The calls of the reading thread, whose answers it keeps itself.
pub(super) trait Owner {
    /// Returns `true` if this is such a call.
    fn owns(&self, call: u64) -> bool;

    /// Keeps the answer to such a call.
    ///
    /// # Errors
    /// [`Malformed`] if it has one already.
    fn keep(&mut self, call: u64, answer: Answer<Payload>) -> Result<(), Unreadable>;

    /// Returns `true` if the answer to such a call may bring something that only the server can take back, as long as it does
    /// not count as read, and that is not handed on at once.
    fn holds_back(&self, _call: u64) -> bool {
        false
    }

    /// Returns `true` if all such calls have an answer.
    fn is_done(&self) -> bool;

    /// Removes the pending calls, which are done.
    fn forget(&mut self, calls: &mut Calls);
}

/// No call.
pub(super) struct Nobody;

impl Owner for Nobody {
    fn owns(&self, _call: u64) -> bool {
        false
    }

    fn keep(&mut self, _call: u64, _answer: Answer<Payload>) -> Result<(), Unreadable> {
        Err(Malformed)
    }

    fn is_done(&self) -> bool {
        false
    }

    fn forget(&mut self, _calls: &mut Calls) {}
}

/// One call.
pub(super) struct Own {
    number: u64,
    answer: Option<Answer<Payload>>,
    /// Whether no other answer can follow before the next call.
    is_last: bool,
}

/// An answer that its thread has.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) answer: Answer<Payload>,
    /// Whether no other answer can follow before the next call.
    pub(super) is_last: bool,
}

impl Own {
    pub(super) const fn of(number: u64) -> Self {
        Self { number, answer: None, is_last: false }
    }

    pub(super) fn into_received(self) -> Option<Received> {
        let Self { answer, is_last, .. } = self;
        answer.map(|answer| Received { answer, is_last })
    }
}

impl Owner for Own {
    #[inline]
    fn owns(&self, call: u64) -> bool {
        self.number == call && self.answer.is_none()
    }

    fn keep(&mut self, _call: u64, answer: Answer<Payload>) -> Result<(), Unreadable> {
        self.answer = Some(answer);
        Ok(())
    }

    #[inline]
    fn is_done(&self) -> bool {
        self.answer.is_some()
    }

    fn forget(&mut self, calls: &mut Calls) {
        calls.forget(self.number);
        self.is_last = calls.is_idle();
    }
}

/// Checks that nothing follows the last answer of a frame, before its call is answered.
fn check_rest(answers: &[u8], left: u16) -> Result<(), Unreadable> {
    if left > 1 || answers.is_empty() { Ok(()) } else { Err(Malformed) }
}

impl Connection {
    /// Reads for all threads until the reader's own calls are answered, its time is over, or the connection ends.
    pub(super) fn lead(&self, own: &mut impl Owner, mut inbox: Box<Inbox>, deadline: Deadline) {
        let mut is_quiet = false;
        let ended = loop {
            match self.receive(&mut inbox, deadline, is_quiet) {
                Look::Bytes(count) => {
                    if let Err(error) = self.process(&mut inbox, count, own) {
                        break Some(End::Unreadable(error));
                    }
                    if own.is_done() {
                        break None;
                    }
                }
                Look::Nothing => is_quiet = true,
                Look::Ended => break Some(End::Gone),
            }
            if deadline.has_passed() {
                break None;
            }
        };
        let mut calls = self.lock();
        if own.is_done() {
            own.forget(&mut calls);
            self.hold_back(&calls);
        }
        #[cfg(feature = "tokio")]
        self.leave_more(&mut calls);
        let next = calls.give_back(inbox);
        match ended {
            Some(end) => self.end(calls, end),
            None => drop(calls),
        }
        next.wake();
    }

    /// Hands every complete frame to its call. The caller has the inbox, so it is the only reader.
    pub(super) fn process(
        &self,
        inbox: &mut Inbox,
        count: usize,
        own: &mut impl Owner,
    ) -> Result<(), Unreadable> {
        let mut is_undoing = false;
        // The lock is taken once for the answers of all other threads.
        let mut calls = None;
        let outcome = inbox.took(count, |head, body| {
            if self.stream.is_near() {
                self.peer_cpu.store(u32::from(head.cpu), Ordering::Relaxed);
            }
            let read = self.read.load(Ordering::Relaxed);
            match head.kind {
                FrameKind::Reply | FrameKind::Fault if own.owns(head.call) => {
                    let answer = match &body {
                        Body::Lent(body) => decode(head.kind, body, &Bytes::new())?,
                        Body::Own(body) => decode(head.kind, body, body)?,
                    };
                    self.keep_own(own, &mut calls, (head.call, answer), read)?;
                }
                FrameKind::Reply | FrameKind::Fault => {
                    let calls = calls.get_or_insert_with(|| self.lock());
                    is_undoing |= calls.deliver(head, body.into_bytes(), read)?;
                    self.hold_back(calls);
                }
                FrameKind::Answers(count) => {
                    is_undoing |= self.enter_all(own, &mut calls, (head, count), &body, read)?;
                }
                _ => return Err(Malformed),
            }
            self.read.store(read.saturating_add(1), Ordering::Release);
            Ok(())
        });
        if let Some(mut calls) = calls {
            calls.swap_woken(inbox.woken());
            self.release(calls);
            inbox.woken().drain(..).for_each(|thread| thread.unpark());
        }
        #[cfg(feature = "tokio")]
        let is_undoing = is_undoing | self.return_untaken()?;
        if is_undoing {
            self.flush();
        }
        outcome
    }

    /// Keeps an answer of the reader itself.
    #[inline]
    fn keep_own<'c>(
        &'c self,
        own: &mut impl Owner,
        calls: &mut Option<MutexGuard<'c, Calls>>,
        (call, answer): (u64, Answer<Payload>),
        read: u64,
    ) -> Result<(), Unreadable> {
        if own.holds_back(call) {
            let calls = calls.get_or_insert_with(|| self.lock());
            calls.hold_back_run(call, read);
            self.hold_back(calls);
        }
        own.keep(call, answer)
    }

    /// Hands each of several answers in one frame to its call. Returns `true` if one has to be undone.
    fn enter_all<'c>(
        &'c self,
        own: &mut impl Owner,
        calls: &mut Option<MutexGuard<'c, Calls>>,
        (head, count): (Head, u16),
        body: &Body<'_>,
        read: u64,
    ) -> Result<bool, Unreadable> {
        let none = Bytes::new();
        let (mut answers, frame): (&[u8], _) = match body {
            Body::Lent(body) => (body, &none),
            Body::Own(body) => (body, body),
        };
        let mut is_undoing = false;
        for place in 0..count {
            let call = head.call.wrapping_add(u64::from(place));
            if own.owns(call) {
                let answer = take_first(&mut answers, frame)?;
                check_rest(answers, count.saturating_sub(place))?;
                self.keep_own(own, calls, (call, answer), read)?;
            } else {
                let (kind, body) = split_first(&mut answers)?;
                check_rest(answers, count.saturating_sub(place))?;
                let calls = calls.get_or_insert_with(|| self.lock());
                let head = Head { kind, call, ..head };
                is_undoing |= calls.deliver(head, Bytes::copy_from_slice(body), read)?;
                self.hold_back(calls);
            }
        }
        Ok(is_undoing)
    }

    /// Waits for bytes, and puts them into the inbox. Waits at most a slice, or, if the connection `is_quiet`, until
    /// there is something to do.
    pub(super) fn receive(&self, inbox: &mut Inbox, deadline: Deadline, is_quiet: bool) -> Look {
        if let Some((body, room)) = inbox.room_of_long() {
            return self.receive_long(body, room, deadline);
        }
        let place = inbox.space();
        let peer_cpu = self.peer_cpu();
        // If the server is on the same CPU, not even one look pays off: the server could not have run.
        let is_beside = peer_cpu == Some(current_cpu());
        if peer_cpu == Some(CROWDED_CPU) {
            for _ in 0..YIELDS_IN_CROWD {
                std::thread::yield_now();
                match self.look(self.stream.try_read(place)) {
                    Look::Nothing => {}
                    seen => return seen,
                }
            }
        } else if !is_beside && self.stream.is_near() {
            // An answer from another host takes longer than a look may.
            let mut seen = Look::Nothing;
            let spun = self.budget.spin(
                || {
                    seen = self.look(self.stream.try_read(place));
                    !matches!(seen, Look::Nothing)
                },
                || self.peer_cpu(),
            );
            if spun {
                return seen;
            }
        }
        let is_blocked = self.flush();
        if !is_blocked && is_quiet && self.sleep(deadline) {
            return self.look(self.stream.try_read(place));
        }
        // The kernel wakes a blocking read also when the server reads the call, which leaves room for another. On one CPU
        // the answer is there before the reader can run. On two, the reader would sleep and be woken a second time, which
        // poll(2) avoids.
        if !is_blocked && is_beside && (deadline.is_never() || deadline.remaining() >= SLICE) {
            return self.look(self.stream.read_slice(place));
        }
        let interest = if is_blocked { Interest::ReadOrWrite } else { Interest::Read };
        // If there is an error, the read returns it.
        let _ready = self.stream.ready(interest, deadline);
        self.look(self.stream.try_read(place))
    }

    /// Receives bytes of a long frame to where it stays. Waits at most a slice for them.
    fn receive_long(&self, body: &mut Vec<u8>, room: usize, deadline: Deadline) -> Look {
        let mut outcome = self.look(self.stream.try_read_more(body, room));
        if matches!(outcome, Look::Nothing) {
            let interest = if self.flush() { Interest::ReadOrWrite } else { Interest::Read };
            // If there is an error, the read returns it.
            let _ready = self.stream.ready(interest, deadline);
            outcome = self.look(self.stream.try_read_more(body, room));
        }
        match outcome {
            // They are in their place already.
            Look::Bytes(_) => Look::Bytes(0),
            other => other,
        }
    }

    /// Sleeps until something arrives, or until there is a rest to write. Returns `false` if there is a rest already,
    /// or if there is no bell to be woken by.
    fn sleep(&self, deadline: Deadline) -> bool {
        let Some((bell, stream)) = self.alarm.bell().zip(self.stream.file().ok()) else {
            return false;
        };
        let mut calls = self.lock();
        // The thread that is writing will see the mark when it stops.
        if !calls.outbox.is_empty() && !calls.is_writing {
            return false;
        }
        if self.stream.has_more() {
            return true;
        }
        calls.is_asleep = true;
        drop(calls);
        let woken = readable_later(&[stream, bell], deadline);
        self.lock().is_asleep = false;
        self.alarm.silence();
        woken.is_ok()
    }

    #[inline]
    pub(super) fn look(&self, outcome: Result<usize, ReadFailure>) -> Look {
        match outcome {
            Ok(0) => Look::Ended,
            Ok(count) => Look::Bytes(count),
            Err(ReadFailure::Empty) => Look::Nothing,
            Err(error) => {
                tracing::debug!(?error, "the manager's server is gone");
                Look::Ended
            }
        }
    }

    pub(super) fn peer_cpu(&self) -> Option<u32> {
        self.peer_cpu.load(Ordering::Relaxed).checked_sub(1)
    }
}

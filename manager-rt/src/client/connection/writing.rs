//! Writing frames to the socket.
//!
//! A thread that finds `is_writing` false sets it, and writes without the lock; all other threads append to the outbox.
//! Before a thread stops writing, it empties the outbox as far as the socket accepts. The rest is written by the next
//! writer, or by the reader, who checks before it sleeps, and is woken by the bell if it already sleeps.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::stream::{Interest, WriteFailure};

use super::reading::{Look, Nobody, Owner};
use super::{Begun, Connection, Failure};
use crate::client::calls::{Calls, End};
use crate::wire::pieces::Pieces;

/// How long a thread waits before it looks again whether another one has written its notice, at first and at most.
const OTHER_WRITER: Duration = Duration::from_micros(50);
const OTHER_WRITER_MAX: Duration = Duration::from_millis(1);

/// How far frames got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// They were written, or another thread writes them.
    Whole,
    /// A part of them was written. If the connection can still be used, the rest is in the outbox.
    Partly,
    /// Nothing was written: the connection has ended, or the time is over.
    Nothing,
}

impl Connection {
    /// Registers a call, and writes its frame or leaves it to the thread that is writing.
    ///
    /// # Errors
    /// [`Failure::NotSent`] or [`Failure::NotBegun`]. Then the call is not registered.
    pub(super) fn send(
        &self,
        calls: MutexGuard<'_, Calls>,
        frame: Pieces<'_>,
        begun: Begun,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let Begun { number, thread, undo } = begun;
        let sent = self.put(calls, frame, |calls| calls.begin(number, thread, undo), &mut Nobody, deadline);
        let is_gone = !self.is_usable();
        match sent {
            Sent::Whole => return Ok(()),
            Sent::Partly if !is_gone => return Ok(()),
            // A single incomplete frame was not understood.
            Sent::Partly | Sent::Nothing => {}
        }
        let mut calls = self.lock();
        calls.forget(number);
        let next = calls.hand_on();
        drop(calls);
        next.wake();
        Err(if is_gone { Failure::NotSent } else { Failure::NotBegun })
    }

    /// Lets `begin` register calls, and writes their frames or leaves them to the thread that is writing. Answers to
    /// `own` calls may arrive meanwhile. Calls whose frames were not written stay registered.
    pub(super) fn put(
        &self,
        mut calls: MutexGuard<'_, Calls>,
        frames: Pieces<'_>,
        begin: impl FnOnce(&mut Calls),
        own: &mut impl Owner,
        deadline: Deadline,
    ) -> Sent {
        if calls.ended().is_some() || !self.is_usable() {
            self.is_usable.store(false, Ordering::Relaxed);
            return Sent::Nothing;
        }
        begin(&mut calls);
        if calls.is_writing {
            frames.append_to(&mut calls.outbox);
            return Sent::Whole;
        }
        calls.is_writing = true;
        let mut earlier = calls.take_outbox();
        drop(calls);
        let own_start = earlier.len();
        let bytes = if earlier.is_empty() {
            frames
        } else {
            frames.append_to(&mut earlier);
            Pieces::from(&*earlier)
        };
        // New frames are withdrawn if none of their bytes is written, so a sealed record does not contain earlier ones too.
        let first = if self.stream.is_remote() { own_start } else { bytes.len() };
        let mut written = self.write(bytes.until(first), Some(deadline), own);
        if written == first {
            written = written.saturating_add(self.write(bytes.behind(first), Some(deadline), own));
        }
        let is_begun = written > own_start;
        let end = if is_begun { bytes.len() } else { own_start };
        self.stop_writing(bytes.until(end).behind(written));
        match written == bytes.len() {
            true => Sent::Whole,
            false if is_begun => Sent::Partly,
            false => Sent::Nothing,
        }
    }

    /// Writes what waits in the outbox, as far as the socket accepts it. Returns `true` if the socket is full.
    pub(super) fn flush(&self) -> bool {
        let mut calls = self.lock();
        if calls.outbox.is_empty() || calls.is_writing || !self.is_usable() {
            return false;
        }
        calls.is_writing = true;
        self.empty_outbox(calls)
    }

    /// Lets other threads write, after `rest` and the contents of the outbox. Returns `true` if the socket is full.
    pub(super) fn stop_writing(&self, rest: Pieces<'_>) -> bool {
        let mut calls = self.lock();
        if !rest.is_empty() {
            let mut bytes = Vec::with_capacity(rest.len().saturating_add(calls.outbox.len()));
            rest.append_to(&mut bytes);
            bytes.append(&mut calls.outbox);
            calls.outbox = bytes;
        } else {
            calls.has_written();
        }
        self.empty_outbox(calls)
    }

    /// Writes what is in the outbox, and then lets other threads write. Returns `true` if the socket is full.
    fn empty_outbox<'a>(&'a self, mut calls: MutexGuard<'a, Calls>) -> bool {
        loop {
            if !self.is_usable() {
                calls.outbox = Vec::new();
            }
            if calls.outbox.is_empty() {
                calls.is_writing = false;
                #[cfg(feature = "tokio")]
                self.let_tasks_write(calls);
                return false;
            }
            let mut bytes = calls.take_outbox();
            drop(calls);
            let written = self.write((&*bytes).into(), None, &mut Nobody);
            calls = self.lock();
            if written < bytes.len() && self.is_usable() {
                bytes.drain(..written);
                bytes.append(&mut calls.outbox);
                calls.outbox = bytes;
                calls.is_writing = false;
                if calls.is_asleep {
                    self.alarm.ring();
                }
                #[cfg(feature = "tokio")]
                calls.tasks.must_write();
                return true;
            }
            if written == bytes.len() {
                calls.has_written();
            }
        }
    }

    /// Writes what was put into the outbox under this number, or waits until another thread has. Reads meanwhile, if no other
    /// thread does: a server whose answers are not read may stop reading.
    ///
    /// # Errors
    /// [`Failure::NotSent`] if the connection has ended, also if the server may have received it; [`Failure::Late`].
    pub(super) fn write_out(&self, out: u64, deadline: Deadline) -> Result<(), Failure> {
        let mut pause = OTHER_WRITER;
        loop {
            let is_full = self.flush();
            match self.has_written(out) {
                Some(true) => return Ok(()),
                None => return Err(Failure::NotSent),
                Some(false) if deadline.has_passed() => return Err(Failure::Late),
                Some(false) if is_full => self.wait_for_room(deadline, &mut Nobody),
                Some(false) => {
                    // Another thread is writing, which may take long. Nobody else wakes this one.
                    thread::park_timeout(deadline.remaining().min(pause));
                    pause = pause.saturating_mul(2).min(OTHER_WRITER_MAX);
                }
            }
        }
    }

    /// Returns whether the kernel has what was put into the outbox under this number, or `None` if the connection has ended, which
    /// empties the outbox.
    pub(super) fn has_written(&self, out: u64) -> Option<bool> {
        let calls = self.lock();
        let has_ended = calls.ended().is_some() || !self.is_usable();
        (!has_ended).then(|| calls.is_written(out))
    }

    /// Writes as much as the socket accepts until the deadline, or without waiting, and returns how many bytes that
    /// was. If it is less than all, the time is over, or the connection is no longer usable.
    pub(super) fn write(&self, bytes: Pieces<'_>, deadline: Option<Deadline>, own: &mut impl Owner) -> usize {
        let mut written = 0_usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            let outcome = match rest.as_one() {
                Some(only) => self.stream.try_write(only),
                None => self.stream.try_write_vectored(&rest.slices()),
            };
            match outcome {
                Ok(count) => written = written.saturating_add(count),
                Err(WriteFailure::Full) => match deadline {
                    Some(deadline) if !deadline.has_passed() => self.wait_for_room(deadline, own),
                    _ => break,
                },
                Err(error) => {
                    // What the server sent before can still be read, so the reader finds the end.
                    tracing::debug!(?error, "the manager's server is gone");
                    self.is_usable.store(false, Ordering::Relaxed);
                    break;
                }
            }
            rest = bytes.behind(written);
        }
        written
    }

    /// Waits a slice for room. The server may be waiting until its answers are read, so some thread has to read.
    pub(super) fn wait_for_room(&self, deadline: Deadline, own: &mut impl Owner) {
        let Some(mut inbox) = self.lock().take_inbox() else {
            // If there is an error, the write returns it.
            let _ready = self.stream.ready(Interest::Write, deadline);
            return;
        };
        let mut ended = None;
        let ready = self.stream.ready(Interest::ReadOrWrite, deadline);
        if ready.is_ok_and(|ready| ready.read) {
            match self.look(self.stream.try_read(inbox.space())) {
                Look::Bytes(count) => {
                    ended = self.process(&mut inbox, count, own).err().map(End::Unreadable);
                }
                Look::Nothing => {}
                Look::Ended => ended = Some(End::Gone),
            }
        }
        let mut calls = self.lock();
        #[cfg(feature = "tokio")]
        self.leave_more(&mut calls);
        let next = calls.give_back(inbox);
        match ended {
            Some(end) => self.end(calls, end),
            None => drop(calls),
        }
        next.wake();
    }
}

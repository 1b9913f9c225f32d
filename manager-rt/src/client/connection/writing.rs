//! How frames get into the socket.
//!
//! Who finds `is_writing` false sets it, and writes without the lock; everybody else appends to the outbox. Whoever stops
//! writing empties the outbox first, as far as the socket takes it. What is left then is written by the next one who writes,
//! or by the reader, who looks before it sleeps, and is rung for if it sleeps already.

use mp_sys::deadline::Deadline;
use mp_sys::stream::{Interest, WriteFailure};

use super::reading::Look;
use super::{Begun, Connection, Failure};
use crate::client::calls::End;

impl Connection {
    /// Registers calls and writes their frames, or leaves them to whoever is writing.
    ///
    /// # Errors
    /// [`Failure::NotSent`] or [`Failure::NotBegun`]; the calls are not registered then.
    pub(super) fn send(&self, frames: &[u8], begun: &[Begun], deadline: Deadline) -> Result<(), Failure> {
        let mut calls = self.lock();
        if calls.ended().is_some() || !self.is_usable() {
            return Err(Failure::NotSent);
        }
        for Begun { number, thread, undo } in begun {
            calls.begin(*number, *thread, *undo);
        }
        if calls.is_writing {
            calls.outbox.extend_from_slice(frames);
            return Ok(());
        }
        calls.is_writing = true;
        let mut earlier = std::mem::take(&mut calls.outbox);
        drop(calls);
        let own_start = earlier.len();
        let bytes = if earlier.is_empty() {
            frames
        } else {
            earlier.extend_from_slice(frames);
            &earlier
        };
        let written = self.write(bytes, Some(deadline));
        let is_begun = written > own_start;
        let end = if is_begun { bytes.len() } else { own_start };
        self.stop_writing(bytes.get(written..end).unwrap_or_default());
        if written == bytes.len() {
            return Ok(());
        }
        // One frame that is not whole was not understood. Of several, some may have been: their end is told by the stream's.
        let is_gone = !self.is_usable();
        if is_begun && !(is_gone && begun.len() == 1) {
            return Ok(());
        }
        let mut calls = self.lock();
        begun.iter().for_each(|begun| calls.forget(begun.number));
        calls.hand_on();
        Err(if is_gone { Failure::NotSent } else { Failure::NotBegun })
    }

    /// Writes what waits in the outbox, as far as the socket takes it; `true` if it is full.
    pub(super) fn flush(&self) -> bool {
        let mut calls = self.lock();
        if calls.outbox.is_empty() || calls.is_writing || !self.is_usable() {
            return false;
        }
        calls.is_writing = true;
        drop(calls);
        self.stop_writing(&[])
    }

    /// Lets others write, after `rest` and what they have put into the outbox; `true` if the socket is full.
    fn stop_writing(&self, rest: &[u8]) -> bool {
        let mut calls = self.lock();
        if !rest.is_empty() {
            calls.outbox.splice(..0, rest.iter().copied());
        }
        loop {
            if !self.is_usable() {
                calls.outbox = Vec::new();
            }
            if calls.outbox.is_empty() {
                calls.is_writing = false;
                return false;
            }
            let mut bytes = std::mem::take(&mut calls.outbox);
            drop(calls);
            let written = self.write(&bytes, None);
            calls = self.lock();
            if written < bytes.len() && self.is_usable() {
                bytes.drain(..written);
                bytes.append(&mut calls.outbox);
                calls.outbox = bytes;
                calls.is_writing = false;
                if calls.is_asleep {
                    self.alarm.ring();
                }
                return true;
            }
        }
    }

    /// Writes as much as the socket takes until the deadline, or at once; how much that was. Less than all: the time is over,
    /// or the connection is not usable any more.
    fn write(&self, bytes: &[u8], deadline: Option<Deadline>) -> usize {
        let mut written = 0_usize;
        while let Some(rest) = bytes.get(written..)
            && !rest.is_empty()
        {
            match self.stream.try_write(rest) {
                Ok(count) => written = written.saturating_add(count),
                Err(WriteFailure::Full) => match deadline {
                    Some(deadline) if !deadline.has_passed() => self.wait_for_room(deadline),
                    _ => break,
                },
                Err(error) => {
                    // What the server had said before can still be read: the reader finds the end.
                    tracing::debug!(?error, "the manager's server is gone");
                    self.is_usable.store(false, std::sync::atomic::Ordering::Relaxed);
                    break;
                }
            }
        }
        written
    }

    /// Waits a slice for room. The server may wait for its answers to be read: somebody has to do that.
    fn wait_for_room(&self, deadline: Deadline) {
        let Some(mut inbox) = self.lock().take_inbox() else {
            // An error shows itself at the write.
            let _ready = self.stream.ready(Interest::Write, deadline);
            return;
        };
        let mut ended = None;
        let ready = self.stream.ready(Interest::ReadOrWrite, deadline);
        if ready.is_ok_and(|ready| ready.read) {
            match self.look(self.stream.try_read(inbox.space())) {
                Look::Bytes(count) if self.process(&mut inbox, count, None).is_err() => {
                    ended = Some(End::Malformed);
                }
                Look::Bytes(_) | Look::Nothing => {}
                Look::Ended => ended = Some(End::Gone),
            }
        }
        let mut calls = self.lock();
        calls.give_back(inbox);
        if let Some(end) = ended {
            self.end(calls, end);
        }
    }
}

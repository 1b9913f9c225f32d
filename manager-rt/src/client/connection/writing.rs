//! Writing frames to the socket.
//!
//! A thread that finds `is_writing` false sets it, and writes without the lock; all other threads append to the outbox.
//! Before a thread stops writing, it empties the outbox as far as the socket accepts. The rest is written by the next
//! writer, or by the reader, who checks before it sleeps, and is woken by the bell if it already sleeps.

use mp_sys::deadline::Deadline;
use mp_sys::stream::{Interest, WriteFailure};

use super::reading::Look;
use super::{Begun, Connection, Failure};
use crate::client::calls::End;

impl Connection {
    /// Registers calls, and writes their frames or leaves them to the thread that is writing.
    ///
    /// # Errors
    /// [`Failure::NotSent`] or [`Failure::NotBegun`]. Then the calls are not registered.
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
        // A single incomplete frame was not understood. Of several frames, some may have been; the end of the stream
        // ends their calls.
        let is_gone = !self.is_usable();
        if is_begun && !(is_gone && begun.len() == 1) {
            return Ok(());
        }
        let mut calls = self.lock();
        begun.iter().for_each(|begun| calls.forget(begun.number));
        calls.hand_on();
        Err(if is_gone { Failure::NotSent } else { Failure::NotBegun })
    }

    /// Writes what waits in the outbox, as far as the socket accepts it. Returns `true` if the socket is full.
    pub(super) fn flush(&self) -> bool {
        let mut calls = self.lock();
        if calls.outbox.is_empty() || calls.is_writing || !self.is_usable() {
            return false;
        }
        calls.is_writing = true;
        drop(calls);
        self.stop_writing(&[])
    }

    /// Lets other threads write, after `rest` and the contents of the outbox. Returns `true` if the socket is full.
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

    /// Writes as much as the socket accepts until the deadline, or without waiting, and returns how many bytes that
    /// was. If it is less than all, the time is over, or the connection is no longer usable.
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
                    // What the server sent before can still be read, so the reader finds the end.
                    tracing::debug!(?error, "the manager's server is gone");
                    self.is_usable.store(false, std::sync::atomic::Ordering::Relaxed);
                    break;
                }
            }
        }
        written
    }

    /// Waits a slice for room. The server may be waiting until its answers are read, so some thread has to read.
    fn wait_for_room(&self, deadline: Deadline) {
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
                    ended = self.process(&mut inbox, count, None).err().map(End::Unreadable);
                }
                Look::Nothing => {}
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

//! Telling the server soon that items have arrived.
//!
//! The server keeps an item that left a queue until its client has read the answer, and each frame says how many answers
//! were read. So the next call frees the item. But a worker may need hours for an item, and sends nothing meanwhile. So if
//! many bytes of items have arrived of which no frame has told the server, a notice without any other content follows.
//! They may be one long item, or short ones of many threads: if the server kept those until the share of this process is
//! full, other threads would wait for items that are there.
//!
//! What a frame tells counts once it is certain that the frame will be written. A frame may be withdrawn, if the time
//! of its call ends before the socket has room, or if it is too long.

use std::sync::atomic::Ordering;

use super::Connection;
use crate::client::answer::Undo;
use crate::limits::{ACKNOWLEDGED_BYTES_MIN, ITEM_NOTE_BYTES};
use crate::proto::{Answer, Payload};
use crate::wire::control::Control;

/// What a frame tells the server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report {
    /// The number of answers that were read.
    pub(super) read: u64,
    /// The bytes of items that came with them, and with all answers before on this connection.
    taken: u64,
}

/// Returns how many bytes of items an answer has taken out of queues, with what the server needs to note each of them.
pub(super) fn taken_bytes(undo: Undo, answer: &Answer<Payload>) -> usize {
    let mut bytes = 0_usize;
    if let (Undo::Items, Ok(reply)) = (undo, answer) {
        reply.each_value(&mut |value| {
            bytes = bytes.saturating_add(value.raw().bytes.len()).saturating_add(ITEM_NOTE_BYTES);
        });
    }
    bytes
}

impl Connection {
    /// Returns the number of answers that the server may count as read.
    fn answers_read(&self) -> u64 {
        let read = self.read.load(Ordering::Acquire);
        // Loaded second: whoever counted an answer as read had stored this before.
        read.min(self.untaken.load(Ordering::Acquire))
    }

    /// Returns what a frame that is sent now tells the server.
    pub(super) fn report(&self) -> Report {
        // Loaded first: what was taken came with answers that had been read.
        let taken = self.taken.load(Ordering::Acquire);
        Report { read: self.answers_read(), taken }
    }

    /// Records that a frame with this report will be written.
    pub(super) fn has_told(&self, report: Report) {
        if self.told.load(Ordering::Relaxed) < report.taken {
            self.told.fetch_max(report.taken, Ordering::Relaxed);
        }
        if self.announced.load(Ordering::Relaxed) < report.read {
            self.announced.fetch_max(report.read, Ordering::Relaxed);
        }
    }

    /// Records that this many bytes of items have arrived, and tells the server, if they are many with those that it does
    /// not know of yet.
    pub(super) fn acknowledge(&self, taken: usize) {
        let taken = u64::try_from(taken).unwrap_or(u64::MAX);
        if taken == 0 {
            return;
        }
        let all = self.taken.fetch_add(taken, Ordering::AcqRel).saturating_add(taken);
        let untold = all.saturating_sub(self.told.load(Ordering::Relaxed));
        if untold < u64::try_from(ACKNOWLEDGED_BYTES_MIN).unwrap_or(u64::MAX) {
            return;
        }
        let report = self.report();
        if self.announced.load(Ordering::Relaxed) >= report.read {
            // A frame of another thread has told it before this thread had its answer.
            self.has_told(report);
            return;
        }
        let mut calls = self.lock();
        if calls.ended().is_some() {
            return;
        }
        calls.control((self.next_call(), report.read), 0, Control::Ping);
        drop(calls);
        self.has_told(report);
        self.flush();
    }
}

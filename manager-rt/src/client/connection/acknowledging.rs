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
//!
//! # Why no item is lost with its process, and none is delivered twice
//! If a process dies and leaves answers in its socket, the server learns that the last one was not read, and nothing of the
//! others. It puts back all items of which no frame said that they were read. So no caller may have such an item then:
//!
//! 1. If an answer can arrive after that with the item (other calls are pending, or a task has not taken its answer), the caller gets the
//!    item only once a notice that says so has been written. If there are none, nothing is sent: the last answer was read, so
//!    the server learns nothing of unread ones.
//! 2. A call that is sent later says it. What it reports is read under the lock under which the call is registered, and thus
//!    after an item of which nobody was told, because no call was registered.
//!
//! The notice says how many answers were read, or, if an earlier one is held back, whose they are.
//!
//! In three cases a caller has an item of which the server was not told, and if its process then ends with unread answers, the item is
//! delivered twice: if the time of the call was over before the notice could be written, because the socket was full; if a task
//! took it while the socket was full or another thread wrote, since a task waits for nothing; and if this connection ended in between.
//!
//! Between hosts, no end of a connection says that an answer was not read. So nothing is put back that was sent.

use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

use mp_sys::deadline::Deadline;

use super::Connection;
use crate::client::answer::Undo;
use crate::limits::{ACKNOWLEDGED_BYTES_MIN, ITEM_NOTE_BYTES, TAKEN_CALLS_MAX};
use crate::proto::version::ITEMS_SAID_SINCE;
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

    /// Records that this many bytes of items have arrived with the answers to these calls, and tells the server if it has to
    /// know: if they are many with those that it does not know of yet, or if other answers can follow.
    pub(super) fn acknowledge(
        &self,
        taken: usize,
        calls: RangeInclusive<u64>,
        is_last: bool,
        deadline: Deadline,
    ) {
        let taken = u64::try_from(taken).unwrap_or(u64::MAX);
        if taken == 0 {
            return;
        }
        let all = self.taken.fetch_add(taken, Ordering::AcqRel).saturating_add(taken);
        if !is_last && !self.stream.is_remote() && self.agreed.version >= ITEMS_SAID_SINCE {
            self.tell(calls, deadline);
            return;
        }
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
        let mut pending = self.lock();
        if pending.ended().is_some() {
            return;
        }
        pending.control((self.next_call(), report.read), 0, Control::Ping);
        drop(pending);
        self.has_told(report);
        self.flush();
    }

    /// Tells the server that the items in the answers to these calls were read, and waits until that is written.
    fn tell(&self, calls: RangeInclusive<u64>, deadline: Deadline) {
        let mut pending = self.lock();
        if pending.ended().is_some() {
            return;
        }
        let report = self.report();
        let is_held_back = pending.first_untaken() != u64::MAX;
        let is_told = self.announced.load(Ordering::Relaxed) >= report.read;
        if !is_held_back && is_told && pending.outbox.is_empty() && !pending.is_writing {
            // A frame of another thread has told it.
            drop(pending);
            self.has_told(report);
            return;
        }
        if is_held_back {
            let (mut first, end) = (*calls.start(), *calls.end());
            while first <= end {
                let last = end.min(first.saturating_add(TAKEN_CALLS_MAX.saturating_sub(1)));
                pending.control((self.next_call(), report.read), 0, Control::Taken { first, last });
                first = last.saturating_add(1);
            }
        } else {
            pending.control((self.next_call(), report.read), 0, Control::Ping);
        }
        let out = pending.newest_out();
        drop(pending);
        self.has_told(report);
        // If that fails, the server may deliver the items again: see above.
        let written = self.write_out(out, deadline);
        tracing::trace!(?written, "items are reported");
    }
}

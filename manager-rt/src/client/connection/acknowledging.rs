//! Telling the server at once that long items have arrived.
//!
//! The server keeps an item that left a queue until its client has read the answer, and each frame says how many answers
//! were read. So the next call frees the item. But a worker may need hours for an item, and sends nothing meanwhile. So if
//! the items of an answer are long, and no other thread sends a frame anyway, a notice without any other content follows.

use std::sync::atomic::Ordering;

use super::Connection;
use crate::client::answer::Undo;
use crate::limits::ACKNOWLEDGED_BYTES_MIN;
use crate::proto::{Answer, Payload};
use crate::wire::control::Control;

/// Returns how many bytes of items an answer has taken out of queues.
pub(super) fn taken_bytes(undo: Undo, answer: &Answer<Payload>) -> usize {
    let mut bytes = 0_usize;
    if let (Undo::Items, Ok(reply)) = (undo, answer) {
        reply.each_value(&mut |value| bytes = bytes.saturating_add(value.raw().bytes.len()));
    }
    bytes
}

impl Connection {
    /// Returns the number of answers that the server may count as read.
    fn answers_read(&self) -> u64 {
        let read = self.read.load(Ordering::Acquire);
        // Loaded second: whoever counted an answer as read had stored this before.
        #[cfg(feature = "tokio")]
        let read = read.min(self.untaken.load(Ordering::Acquire));
        read
    }

    /// Returns the number of answers that were read, for a frame that tells the server.
    pub(super) fn read_so_far(&self) -> u64 {
        let read = self.answers_read();
        // If two threads do this at the same time, the smaller number may stay, and one notice is sent in vain.
        if self.announced.load(Ordering::Relaxed) < read {
            self.announced.store(read, Ordering::Relaxed);
        }
        read
    }

    /// Tells the server that this many bytes of items have arrived, if they are many and no other frame does.
    pub(super) fn acknowledge(&self, taken: usize) {
        let read = self.answers_read();
        if taken < ACKNOWLEDGED_BYTES_MIN || self.announced.load(Ordering::Relaxed) >= read {
            return;
        }
        let numbers = (self.next_call(), self.read_so_far());
        let mut calls = self.lock();
        if calls.ended().is_some() {
            return;
        }
        calls.control(numbers, 0, Control::Ping);
        drop(calls);
        self.flush();
    }
}

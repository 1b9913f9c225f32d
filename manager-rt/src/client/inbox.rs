//! The received bytes that are not a complete answer yet.

use std::thread::Thread;

use bytes::Bytes;

use super::answer::Unreadable::{self, Malformed};
use crate::wire::frame::Head;
use crate::wire::inbound::{Frame, Garbage, Inbound};

/// The most bytes that one read takes. A longer frame is collected in separate memory.
pub(super) const BUFFER_BYTES: usize = 64 << 10;

/// The body of a frame.
#[derive(Debug)]
pub(super) enum Body<'a> {
    /// In the buffer, until the next read into it.
    Lent(&'a [u8]),
    /// In separate memory.
    Own(Bytes),
}

impl Body<'_> {
    /// Returns the body in a form that can be kept.
    pub(super) fn into_bytes(self) -> Bytes {
        match self {
            Self::Lent(body) => Bytes::copy_from_slice(body),
            Self::Own(body) => body,
        }
    }
}

/// Reads frames, however the stream is cut. The thread that has it reads for all threads.
#[derive(Debug)]
pub(super) struct Inbox {
    buffer: Box<[u8]>,
    /// The number of earlier bytes at the front of the buffer.
    kept: usize,
    inbound: Inbound,
    /// Empty except while answers are entered.
    woken: Vec<Thread>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { buffer: vec![0; BUFFER_BYTES].into(), kept: 0, inbound: Inbound::default(), woken: Vec::new() }
    }
}

impl Inbox {
    /// Returns the place for threads that have to be unparked. It belongs to the reader, so its memory is used again.
    pub(super) const fn woken(&mut self) -> &mut Vec<Thread> {
        &mut self.woken
    }

    /// Returns the place for the next bytes. It is never empty, since only an incomplete frame is kept, and a frame
    /// that is longer than the buffer is not kept here.
    pub(super) fn space(&mut self) -> &mut [u8] {
        let end = self.inbound.share_of(BUFFER_BYTES, self.kept);
        self.buffer.get_mut(self.kept..end).unwrap_or_default()
    }

    /// Returns the memory of a long frame under way, and how many bytes it takes now, if the next bytes can be read to there.
    /// Then [`took`](Self::took) is called with 0 bytes.
    pub(super) fn room_of_long(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        self.inbound.room_of_long()
    }

    /// Shows all frames that are complete after this many bytes were received.
    ///
    /// # Errors
    /// [`Unreadable`]. No later bytes can be understood either.
    pub(super) fn took(
        &mut self,
        count: usize,
        mut each: impl FnMut(Head, Body<'_>) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        let end = self.kept.saturating_add(count);
        let mut bytes = self.buffer.get(..end).unwrap_or_default();
        while let Some(frame) = self.inbound.next(&mut bytes, BUFFER_BYTES)? {
            match frame {
                Frame::Short(head, body) => each(head, Body::Lent(body))?,
                Frame::Long(head, body) => each(head, Body::Own(body))?,
                // A client has no account, so it refuses nothing.
                Frame::Refused(head, fault) => {
                    tracing::error!(?head, %fault, "an answer was refused");
                    return Err(Malformed);
                }
            }
        }
        self.kept = bytes.len();
        if self.kept > 0 {
            self.buffer.copy_within(end.saturating_sub(self.kept)..end, 0);
        }
        Ok(())
    }
}

impl From<Garbage> for Unreadable {
    fn from(_: Garbage) -> Self {
        Malformed
    }
}

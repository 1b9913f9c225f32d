//! What came from the server and is no whole answer yet.

use bytes::Bytes;

use super::answer::Malformed;
use crate::proto::frame::Head;
use crate::server::inbound::{Frame, Garbage, Inbound};

/// What one read takes at most, in bytes; a longer frame is collected in memory of its own.
pub(super) const BUFFER_BYTES: usize = 64 << 10;

/// The body of a frame.
#[derive(Debug)]
pub(super) enum Body<'a> {
    /// In the buffer, for as long as nothing is read into that.
    Lent(&'a [u8]),
    /// In memory of its own.
    Own(Bytes),
}

impl Body<'_> {
    /// The body, to be kept.
    pub(super) fn into_bytes(self) -> Bytes {
        match self {
            Self::Lent(body) => Bytes::copy_from_slice(body),
            Self::Own(body) => body,
        }
    }
}

/// Reads frames, whichever way they are cut. Whoever has it reads for all threads.
#[derive(Debug)]
pub(super) struct Inbox {
    buffer: Box<[u8]>,
    /// Bytes at the front of the buffer that were there before.
    kept: usize,
    inbound: Inbound,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { buffer: vec![0; BUFFER_BYTES].into(), kept: 0, inbound: Inbound::default() }
    }
}

impl Inbox {
    /// Where the next bytes go: never empty, since what is kept is no whole frame, and one that is longer does not lie here.
    pub(super) fn space(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.kept..).unwrap_or_default()
    }

    /// Shows all frames that are complete now that so many bytes came.
    ///
    /// # Errors
    /// [`Malformed`]: nothing that comes later can be understood.
    pub(super) fn took(
        &mut self,
        count: usize,
        mut each: impl FnMut(Head, Body<'_>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let end = self.kept.saturating_add(count);
        let mut bytes = self.buffer.get(..end).unwrap_or_default();
        while let Some(frame) = self.inbound.next(&mut bytes, BUFFER_BYTES)? {
            match frame {
                Frame::Short(head, body) => each(head, Body::Lent(body))?,
                Frame::Long(head, body) => each(head, Body::Own(body))?,
            }
        }
        self.kept = bytes.len();
        if self.kept > 0 {
            self.buffer.copy_within(end.saturating_sub(self.kept)..end, 0);
        }
        Ok(())
    }
}

impl From<Garbage> for Malformed {
    fn from(_: Garbage) -> Self {
        Self
    }
}

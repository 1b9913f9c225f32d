//! Calls that travel in one frame: light ones of one thread on one object.
//!
//! | part of the body | contents |
//! |---|---|
//! | first | the object and the thread |
//! | then | the operations, one after the other |
//!
//! A call of its own costs its head, a search for its object, and an answer with a head. In a pipeline of sets or gets, that is
//! most of what both sides do.

use postcard::take_from_bytes;
use serde::{Deserialize, Serialize};

use crate::limits::{CALLS_TOGETHER_BYTES_MAX, CALLS_TOGETHER_MAX};
use crate::proto::{Fault, ObjectId, Op, Raw, limited};
use crate::wire::encode;
use crate::wire::frame::{FrameKind, HEAD_BYTES, Head};

/// Whose calls they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Whose {
    pub(crate) object: ObjectId,
    pub(crate) thread: u64,
}

/// The body of a frame with several calls, as far as it was not read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Together<'a> {
    pub(crate) whose: Whose,
    /// The operations that are left.
    rest: &'a [u8],
    /// Why an operation cannot be understood. Nobody knows where the next one begins.
    broken: Option<Fault>,
}

impl<'a> Together<'a> {
    /// Reads the beginning of a body.
    pub(crate) fn of(body: &'a [u8]) -> Option<Self> {
        let (whose, rest) = take_from_bytes(body).ok()?;
        Some(Self { whose, rest, broken: None })
    }

    /// Removes and returns the next operation, whose sequences may take this many bytes together once they are decoded.
    ///
    /// # Errors
    /// The fault of this operation, which all later ones have, too.
    #[inline]
    pub(crate) fn next(&mut self, room: usize) -> Result<Op<Raw<'a>>, Fault> {
        if let Some(fault) = self.broken {
            return Err(fault);
        }
        let mut behind = self.rest;
        let op = limited::within(room, self.rest, |bytes| {
            let (op, rest) = take_from_bytes(bytes).ok()?;
            behind = rest;
            Some(op)
        });
        self.rest = behind;
        self.broken = op.as_ref().err().copied();
        op
    }

    /// Returns the length of the operations that are left.
    #[cfg(feature = "server")]
    pub(crate) fn rest_len(&self) -> usize {
        self.rest.len()
    }

    /// Returns the body of a frame with the last `len` bytes of the operations only.
    #[cfg(feature = "server")]
    pub(crate) fn with_last(&self, len: usize) -> Vec<u8> {
        let last = self.rest.get(self.rest.len().saturating_sub(len)..).unwrap_or_default();
        // Two numbers can be encoded.
        let whose = postcard::to_allocvec(&self.whose).unwrap_or_default();
        [&*whose, last].concat()
    }
}

/// A frame at the end of a buffer that takes more calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open {
    whose: Whose,
    /// Where it begins.
    start: usize,
    count: u16,
}

impl Open {
    /// Appends a call to the frame, or to a new one that begins with this number. Returns `None` if the operation is too long, and
    /// then nothing has changed.
    pub(crate) fn add(
        open: Option<Self>,
        into: &mut Vec<u8>,
        (whose, call): (Whose, u64),
        op: &Op<Raw<'_>>,
    ) -> Option<Self> {
        let end = into.len();
        let has_room = |open: &Self| {
            open.whose == whose
                && open.count < CALLS_TOGETHER_MAX
                && end.saturating_sub(open.start) < CALLS_TOGETHER_BYTES_MAX / 2
        };
        let open = open.filter(has_room).or_else(|| Self::begin(into, whose, call))?;
        let end_max = open.start.saturating_add(HEAD_BYTES).saturating_add(CALLS_TOGETHER_BYTES_MAX);
        if encode::body(into, op, end_max).is_err() {
            into.truncate(end);
            return None;
        }
        let open = Self { count: open.count.saturating_add(1), ..open };
        open.enter(into)?;
        Some(open)
    }

    fn begin(into: &mut Vec<u8>, whose: Whose, call: u64) -> Option<Self> {
        let start = into.len();
        let head = Head { body_len: 0, kind: FrameKind::Calls(0), cpu: 0, call, read: 0 };
        into.extend_from_slice(&head.to_bytes());
        encode::body(into, &whose, usize::MAX).ok()?;
        Some(Self { whose, start, count: 0 })
    }

    /// Enters the length and the number of calls into the head.
    fn enter(&self, into: &mut [u8]) -> Option<()> {
        let len = into.len().saturating_sub(self.start).saturating_sub(HEAD_BYTES);
        let head = into.get_mut(self.start..)?.first_chunk_mut::<HEAD_BYTES>()?;
        head[..4].copy_from_slice(&u32::try_from(len).ok()?.to_le_bytes());
        head[6..8].copy_from_slice(&self.count.to_le_bytes());
        Some(())
    }
}

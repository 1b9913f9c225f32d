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

use crate::proto::{Fault, ObjectId, Op, Raw, limited};

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

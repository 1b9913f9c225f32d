//! Encoded results as they come out of a queue. Large ones are not copied again while they wait to be taken.

use std::ops::{Deref, Range};
use std::rc::Rc;

use crate::pool::TaskError;

/// What the engine passes on for one item.
pub(super) type Outcome<'a> = Result<Payload<'a>, TaskError>;

/// Takes the outcomes of items: the job, the index, and how it ended.
pub(super) type Sink<'a> = dyn FnMut(u64, u64, Outcome<'_>) + 'a;

/// A result of this size is kept in the bytes that it came in, if these are not more than twice as large.
const LARGE_BYTES: usize = 64 << 10;

/// An encoded result, in the bytes that were taken from the queue together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payload<'a> {
    taken: &'a Rc<Vec<u8>>,
    value: &'a [u8],
}

impl<'a> Payload<'a> {
    /// Makes one of a part of the bytes that were taken.
    pub(super) fn new(taken: &'a Rc<Vec<u8>>, value: &'a [u8]) -> Self {
        Self { taken, value }
    }

    pub(super) fn as_bytes(self) -> &'a [u8] {
        self.value
    }

    /// Keeps it for later: a large one where it is, and a copy of a small one.
    pub(super) fn keep(self) -> Kept {
        let len = self.value.len();
        if len < LARGE_BYTES || len < self.taken.len() / 2 {
            return Kept::Copy(self.value.to_vec());
        }
        let start = self.value.as_ptr().addr().saturating_sub(self.taken.as_ptr().addr());
        Kept::InPlace(Rc::clone(self.taken), start..start.saturating_add(len))
    }
}

/// An encoded result that waits to be taken.
#[derive(Debug)]
pub(super) enum Kept {
    Copy(Vec<u8>),
    InPlace(Rc<Vec<u8>>, Range<usize>),
}

impl Deref for Kept {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Copy(bytes) => bytes,
            // It is a part of them.
            Self::InPlace(taken, range) => taken.get(range.clone()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps the part `range` of `len` bytes, and returns whether it was copied.
    fn is_copied(len: usize, range: Range<usize>) -> bool {
        let taken: Rc<Vec<u8>> = Rc::new((0..len).map(|at| u8::try_from(at % 251).unwrap()).collect());
        let value = &taken[range];
        let kept = Payload::new(&taken, value).keep();
        assert_eq!(&*kept, value);
        !std::ptr::eq(kept.as_ptr(), value.as_ptr())
    }

    #[test]
    fn large_results_stay_where_they_are() {
        assert!(!is_copied(LARGE_BYTES, 0..LARGE_BYTES));
        assert!(!is_copied(LARGE_BYTES + 21, 21..LARGE_BYTES + 21));
        assert!(!is_copied(2 * LARGE_BYTES, 7..LARGE_BYTES + 7));
    }

    #[test]
    fn small_results_do_not_hold_what_came_with_them() {
        assert!(is_copied(LARGE_BYTES, 1..LARGE_BYTES));
        assert!(is_copied(2 * LARGE_BYTES + 2, 7..LARGE_BYTES + 7));
        assert!(is_copied(10, 0..0));
    }
}

//! [`Pieces`]: bytes to write that lie in several places.

use std::io::IoSlice;

/// Bytes to write, in order. A long value is written from where it is, between what comes before and after it in its frame.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pieces<'a>([&'a [u8]; 3]);

impl<'a> From<&'a [u8]> for Pieces<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self([bytes, &[], &[]])
    }
}

impl<'a> Pieces<'a> {
    /// Inserts a long value into `bytes` at `place`, or nowhere if there is none.
    pub(crate) fn around(bytes: &'a [u8], long: &'a [u8], place: Option<usize>) -> Self {
        match place.and_then(|place| bytes.split_at_checked(place)) {
            Some((before, behind)) => Self([before, long, behind]),
            None => bytes.into(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|piece| piece.len()).fold(0, usize::saturating_add)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|piece| piece.is_empty())
    }

    /// Returns them without the first `count` bytes.
    pub(crate) fn behind(self, mut count: usize) -> Self {
        Self(self.0.map(|piece| {
            let (skipped, rest) = piece.split_at_checked(count).unwrap_or((piece, &[]));
            count = count.saturating_sub(skipped.len());
            rest
        }))
    }

    /// Returns the first `count` bytes.
    pub(crate) fn until(self, mut count: usize) -> Self {
        Self(self.0.map(|piece| {
            let (first, _) = piece.split_at_checked(count).unwrap_or((piece, &[]));
            count = count.saturating_sub(first.len());
            first
        }))
    }

    /// Appends them to a buffer.
    pub(crate) fn append_to(self, into: &mut Vec<u8>) {
        self.0.into_iter().for_each(|piece| into.extend_from_slice(piece));
    }

    /// Returns them as one slice if they lie in one place.
    #[inline]
    pub(crate) const fn as_one(&self) -> Option<&'a [u8]> {
        let [first, second, third] = self.0;
        if second.is_empty() && third.is_empty() { Some(first) } else { None }
    }

    /// Returns them for the system.
    pub(crate) fn slices(&self) -> [IoSlice<'a>; 3] {
        self.0.map(IoSlice::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_cut_like_one_slice() {
        let whole = b"0123456789";
        let pieces = Pieces::around(b"012789", b"3456", Some(3));
        assert_eq!((pieces.len(), pieces.as_one()), (10, None));
        assert_eq!(pieces.slices().map(|slice| slice.to_vec()).concat(), whole);
        for count in 0..=whole.len() + 1 {
            let (mut first, mut rest) = (Vec::new(), Vec::new());
            pieces.until(count).append_to(&mut first);
            pieces.behind(count).append_to(&mut rest);
            let at = count.min(whole.len());
            assert_eq!((&*first, &*rest), whole.split_at(at));
            assert_eq!(pieces.behind(count).is_empty(), rest.is_empty());
        }
        assert_eq!(Pieces::around(b"01", b"", None).as_one(), Some(&b"01"[..]));
    }
}

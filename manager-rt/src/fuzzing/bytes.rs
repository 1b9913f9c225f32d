//! Decisions made from bytes. Bytes beyond the end of the input are zero.

use crate::proto::Wait;

/// The input, read from the front.
#[derive(Debug)]
pub(super) struct Source<'a> {
    rest: &'a [u8],
}

impl<'a> Source<'a> {
    pub(super) const fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Returns the next bytes as a separate source, so that decisions about one thing do not shift those about the
    /// next.
    pub(super) fn record(&mut self, len: usize) -> Self {
        let (record, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        Self::new(record)
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    pub(super) fn small(&mut self) -> u64 {
        u64::from(self.byte())
    }

    /// Returns a number below `bound`, or 0 if there is none.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()).checked_rem(bound).unwrap_or(0)
    }

    pub(super) fn wait(&mut self) -> Wait {
        match self.byte() {
            0..=99 => Wait::No,
            100..=199 => Wait::Forever,
            nanos => Wait::For(u64::from(nanos) % 32),
        }
    }
}

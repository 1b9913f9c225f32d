//! What a held lock knows about itself, in one word, because a pair of words is passed in registers.

use crate::robust::Generation;

/// When a lock was taken, and whether a section is open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken(u64);

impl Taken {
    const CLOSES_SECTION: u64 = 1 << 32;

    #[inline(always)]
    pub(super) fn now() -> Self {
        Self(u64::from(Generation::current().0))
    }

    #[inline(always)]
    pub(super) fn closing_section(self) -> Self {
        Self(self.0 | Self::CLOSES_SECTION)
    }

    #[inline(always)]
    pub(super) fn closes_section(self) -> bool {
        self.0 & Self::CLOSES_SECTION != 0
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
    pub(super) fn generation(self) -> Generation {
        Generation(self.0 as u32)
    }
}

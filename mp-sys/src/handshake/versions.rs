//! The versions of a protocol, and the version on which two sides agree.

use std::fmt;

use super::NONCE;

/// The length of a range of versions, in bytes.
pub(super) const RANGE: usize = 4;
/// The last bytes of a nonce that contains an offer, before the range.
const TAG: [u8; 8] = *b"mp-range";
/// Where an offer begins in a nonce. What is before it, 160 bits, cannot be guessed.
const PLACE: usize = NONCE - TAG.len() - RANGE;

/// A range of versions. A side that knows two versions also knows those between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The oldest one.
    pub oldest: u16,
    /// The newest one.
    pub newest: u16,
}

impl Versions {
    /// Returns the range of a single version.
    #[must_use]
    pub const fn only(version: u16) -> Self {
        Self { oldest: version, newest: version }
    }

    /// Returns the newest version in both ranges.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u16> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }

    pub(super) const fn to_bytes(self) -> [u8; RANGE] {
        let ([a, b], [c, d]) = (self.oldest.to_le_bytes(), self.newest.to_le_bytes());
        [a, b, c, d]
    }

    /// Reads a range. Zeros are none.
    pub(super) fn of([a, b, c, d]: [u8; RANGE]) -> Option<Self> {
        let (oldest, newest) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        (newest != 0 && oldest <= newest).then_some(Self { oldest, newest })
    }

    /// Makes the end of a nonce an offer.
    pub(super) fn put_into(self, nonce: [u8; NONCE]) -> [u8; NONCE] {
        let offer = TAG.into_iter().chain(self.to_bytes());
        let mut nonce = nonce;
        nonce.iter_mut().skip(PLACE).zip(offer).for_each(|(place, byte)| *place = byte);
        nonce
    }

    /// Returns the offer inside a nonce. The nonce of a peer that makes none looks like one with a probability of 2^-64.
    pub(super) fn inside(nonce: &[u8; NONCE]) -> Option<Self> {
        let (rest, range) = nonce.split_last_chunk::<RANGE>()?;
        Self::of(*range).filter(|_| rest.ends_with(&TAG))
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { oldest, newest } = self;
        if oldest == newest { write!(f, "{newest}") } else { write!(f, "{oldest} to {newest}") }
    }
}

/// What a side offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The versions that it knows.
    pub versions: Versions,
    /// The version of a peer that offers none, because it is of a build without ranges.
    pub silent: u16,
}

/// What both sides agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The newest version that both know.
    pub version: u16,
    /// The versions that the other side knows.
    pub theirs: Versions,
}

//! How the locks of this process work: by this crate's own word if the C library and the kernel are as expected.
//!
//! | mode | when | sleeps |
//! |---|---|---|
//! | [`Mode::Own`] | the C library links its robust mutexes where this crate expects it; Linux 6.2 or later | until woken |
//! | [`Mode::OwnInSlices`] | the same on an older kernel, which forgets sleepers in one case of a death | in slices |
//! | [`Mode::Pthread`] | another layout, or the kernel does not show where the list is | in slices |
//!
//! Each process determines its mode once, without reading a file. A lock records its own kind: see
//! [`Kind`](super::Kind).

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::list;
use crate::futex::SLICE;

/// How the locks of a process work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// This crate's own word, and sleeps that end by a wake-up.
    Own = 1,
    /// This crate's own word, and sleeps in slices.
    OwnInSlices = 2,
    /// The C library's robust mutex, and sleeps in slices.
    Pthread = 3,
}

/// The mode has not been determined yet.
const UNKNOWN: u8 = 0;
static MODE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Whether this crate knows the layout of mutexes in the C library of this target.
const KNOWS_LAYOUT: bool = cfg!(all(target_env = "gnu", target_pointer_width = "64"));
/// The first kernel that wakes the next sleeper if the woken one dies while a bit is left in the free word: commit
/// 90d758896787, "futex: Resend potentially swallowed owner death notification".
const WAKES_FOR_BITS: (u32, u32) = (6, 2);

impl Mode {
    /// The mode of this process.
    #[inline]
    #[must_use]
    pub fn current() -> Self {
        match MODE.load(Ordering::Relaxed) {
            1 => Self::Own,
            2 => Self::OwnInSlices,
            3 => Self::Pthread,
            _ => Self::find_out(),
        }
    }

    #[cold]
    fn find_out() -> Self {
        let mode = if !KNOWS_LAYOUT || list::own_head().is_none() {
            Self::Pthread
        } else if kernel_version() >= Some(WAKES_FOR_BITS) {
            Self::Own
        } else {
            Self::OwnInSlices
        };
        MODE.store(mode as u8, Ordering::Relaxed);
        mode
    }

    /// The longest single sleep.
    pub(super) fn slice(self) -> Duration {
        match self {
            Self::Own => Duration::MAX,
            Self::OwnInSlices | Self::Pthread => SLICE,
        }
    }
}

/// Puts this process into `mode`, whatever the machine supports. For tests, before the process takes its first lock.
#[cfg(feature = "testing")]
pub fn force_mode(mode: Mode) {
    MODE.store(mode as u8, Ordering::Relaxed);
    super::held::HELD.with(super::held::Held::begin_afresh);
}

/// Major and minor number of the running kernel.
fn kernel_version() -> Option<(u32, u32)> {
    parse_version(rustix::system::uname().release().to_str().ok()?)
}

fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(parse_version("6.18.44-fc-v782"), Some((6, 18)));
        assert_eq!(parse_version("5.10.0"), Some((5, 10)));
        assert_eq!(parse_version("6.2-rc1"), Some((6, 2)));
        assert_eq!(parse_version("six"), None);
        assert!(parse_version("6.10") > Some(WAKES_FOR_BITS));
        assert!(parse_version("6.1.55") < Some(WAKES_FOR_BITS));
        assert!(None < Some(WAKES_FOR_BITS), "an unknown kernel counts as an old one");
    }
}

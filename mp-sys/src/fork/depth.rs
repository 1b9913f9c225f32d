//! How many forks lie between a process and the first one: what a guard is asked at each use, so it costs a plain load.

use std::cell::UnsafeCell;

use super::WORDS;

/// Written by the atfork handler of a child, before anything else runs there.
#[derive(Debug)]
pub(super) struct Depth(UnsafeCell<u32>);

// SAFETY: `deepen` is the only writer, and runs in a child that has one thread.
unsafe impl Sync for Depth {}

impl Depth {
    pub(super) const fn new() -> Self {
        Self(UnsafeCell::new(0))
    }
}

/// The depth of the process that asks: what was made at another one was inherited.
///
/// Not an atomic, so that the compiler may ask once for a loop that calls nothing. It does not move the question past the
/// call of a function that it does not see into, as fork(2) is.
#[inline(always)]
pub(crate) fn depth() -> u32 {
    // SAFETY: nobody writes while there are several threads, and no reference is made.
    unsafe { *WORDS.depth.0.get() }
}

/// In a forked child.
pub(super) fn deepen() {
    let depth = depth().wrapping_add(1);
    // SAFETY: the child of a fork has one thread, which runs this.
    unsafe { *WORDS.depth.0.get() = depth };
}

//! How many forks lie between a process and the first one. A guard checks it at each use, so it costs a plain load.

use std::cell::UnsafeCell;

use super::WORDS;

/// Written only by a child's atfork handler, before anything else runs there.
#[derive(Debug)]
pub(super) struct Depth(UnsafeCell<u32>);

// SAFETY: `deepen` is the only writer, and runs in a child that has one thread.
unsafe impl Sync for Depth {}

impl Depth {
    pub(super) const fn new() -> Self {
        Self(UnsafeCell::new(0))
    }
}

/// The depth of the calling process: an object that was made at another depth was inherited.
///
/// It is not an atomic, so the compiler may read it once for a loop that calls nothing. The compiler does not move the
/// read past a call of a function that it cannot see into, and fork(2) is one.
#[inline(always)]
pub(crate) fn depth() -> u32 {
    // SAFETY: nobody writes while there are several threads, and no reference is made.
    unsafe { *WORDS.depth.0.get() }
}

/// Increases the depth in a forked child.
pub(super) fn deepen() {
    let depth = depth().wrapping_add(1);
    // SAFETY: the child of a fork has one thread, which runs this.
    unsafe { *WORDS.depth.0.get() = depth };
}

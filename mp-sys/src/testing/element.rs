//! An element whose type checks its bits, and prints itself, by code that may panic.
//!
//! `CheckedBitPattern` is an `unsafe` trait, so a test cannot implement it. But a user's crate can, and the library
//! calls it.

use std::cell::Cell;
use std::fmt;

use bytemuck::{CheckedBitPattern, NoUninit, Zeroable};

thread_local! {
    static LOOK: Cell<fn()> = const { Cell::new(|| ()) };
    static SHOW: Cell<fn()> = const { Cell::new(|| ()) };
}

/// A number for which every bit pattern is valid. The check of a pattern calls the calling thread's hook.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Checked(pub u64);

impl Checked {
    /// Makes this thread call `hook` at each check of an element's bits.
    pub fn on_look(hook: fn()) {
        LOOK.set(hook);
    }

    /// Makes this thread call `hook` each time `Debug` shows an element.
    pub fn on_show(hook: fn()) {
        SHOW.set(hook);
    }
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SHOW.get()();
        f.debug_tuple("Checked").field(&self.0).finish()
    }
}

// SAFETY: zero is a valid `u64`, which is all that it consists of.
unsafe impl Zeroable for Checked {}
// SAFETY: as `u64`, whose layout it has: no padding, nothing uninitialized, no pointers.
unsafe impl NoUninit for Checked {}
// SAFETY: `Bits` has the layout of `Checked`, and every pattern is valid: the check is never wrong when it accepts one.
unsafe impl CheckedBitPattern for Checked {
    type Bits = u64;

    fn is_valid_bit_pattern(_: &u64) -> bool {
        LOOK.get()();
        true
    }
}

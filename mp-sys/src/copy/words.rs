//! Moves whole words by inline assembly, which stands for a loop over units on x86-64.
//!
//! `rep movsq` is as fast as `memcpy` (relaxed atomic loops reach 0.6-0.8 of it, measured), but takes about 30 cycles
//! to start, so short runs are moved word by word. It is known that the microcode moves whole units if both sides are
//! aligned to the unit. If the private side is not (a `Vec<[u8; 8]>` at an odd address), long runs are moved word by
//! word as well.

use std::arch::asm;

use super::WORD;

/// Shorter runs are moved word by word.
pub(super) const STRING_COPY_FROM_BYTES: usize = 256;

/// # Safety
/// - `to` is writable and `from` readable for `bytes` bytes, a multiple of 8; they do not overlap.
/// - The shared side starts at a multiple of 8. Nobody else uses the other side.
/// - `both_aligned`: the private side starts at a multiple of the unit.
#[inline]
pub(super) unsafe fn copy(to: *mut u8, from: *const u8, bytes: usize, both_aligned: bool) {
    if bytes >= STRING_COPY_FROM_BYTES && both_aligned {
        // SAFETY: the caller's contract is the same.
        unsafe { string(to, from, bytes) };
    } else if bytes > 0 {
        // SAFETY: the caller's contract is the same; there is at least one word.
        unsafe { word_by_word(to, from, bytes) };
    }
}

/// # Safety
/// As [`copy`].
unsafe fn string(to: *mut u8, from: *const u8, bytes: usize) {
    // SAFETY: the instruction reads and writes exactly the caller's ranges; the ABI keeps the direction flag clear.
    unsafe {
        asm!(
            "rep movsq",
            inout("rcx") bytes / WORD => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags)
        );
    }
}

/// # Safety
/// The contract of [`copy`]. In addition, `bytes` is not 0.
#[inline]
unsafe fn word_by_word(to: *mut u8, from: *const u8, bytes: usize) {
    // SAFETY: the loop reads and writes the words at 0, 8, … up to `bytes` of both ranges; its jump is local.
    unsafe {
        asm!(
            "2:",
            "mov {word}, qword ptr [{from} + {at}]",
            "mov qword ptr [{to} + {at}], {word}",
            "add {at}, 8",
            "cmp {at}, {bytes}",
            "jb 2b",
            word = out(reg) _,
            at = inout(reg) 0_usize => _,
            to = in(reg) to,
            from = in(reg) from,
            bytes = in(reg) bytes,
            options(nostack)
        );
    }
}

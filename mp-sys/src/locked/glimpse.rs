//! Copies of locked data that are made without the lock.
//!
//! The holder of the lock changes the data by plain stores, through `&mut T`, while the copy is made. The compiler must
//! not see such a copy as an access of this program. So on `x86_64` it is inline assembly, which the compiler cannot
//! look into: the effect is the same as if another process read the memory. (Other processes do read it, at any
//! moment.) The copy consists of bytes, and becomes a `T` only once the version has shown that nobody changed them
//! meanwhile.
//!
//! On other processors, and under Miri, the copy consists of relaxed atomic loads, which compile to the same
//! instructions.

use std::mem::{MaybeUninit, size_of};
use std::sync::atomic::Ordering;

use crate::cells::{self, Element};
use crate::locked::{Locked, Seen};

/// Bytes in the word by which runs are moved.
const WORD: usize = 8;

impl Locked {
    /// Copies a value without the lock; returns `None` if somebody keeps changing the data. `place` returns the place
    /// of the value at this version. `flag` becomes the flag of the same moment.
    ///
    /// # Panics
    /// If the value does not lie in the data.
    #[inline]
    #[must_use]
    pub fn glimpse<T: Element>(&self, place: impl Fn(Seen) -> usize, flag: &mut u32) -> Option<T> {
        let mut bits = MaybeUninit::<T::Bits>::uninit();
        let copied = self.version().glimpse(|seen| {
            let from = self.place(place(seen), size_of::<T>()).as_ptr();
            // SAFETY: `place` checked that the value lies in the data, which stays mapped; `bits` is private and as long.
            unsafe { copy(bits.as_mut_ptr().cast(), from, size_of::<T>()) };
            *flag = self.flag().load(Ordering::Relaxed);
            from
        });
        acquired(copied?);
        // SAFETY: the copy that was kept wrote every byte, and `Bits` allows any pattern.
        Some(cells::checked(unsafe { bits.assume_init() }))
    }

    /// Copies values that lie side by side from `at` on, as [`glimpse`](Self::glimpse) does; returns the flag. After
    /// `None`, the content of `into` is unspecified.
    ///
    /// # Panics
    /// If they do not lie in the data.
    #[must_use]
    pub fn glimpse_slice<T: Element>(&self, at: usize, into: &mut [T]) -> Option<u32> {
        let bytes = size_of_val(into);
        let from = self.place(at, bytes).as_ptr();
        let to = into.as_mut_ptr();
        let copied = self.version().glimpse(|_| {
            // SAFETY: `place` checked that the values lie in the data, which stays mapped; `into` is exclusively borrowed,
            // and nobody looks at it as `T` before it is repaired below.
            unsafe { copy(to.cast(), from, bytes) };
            self.flag().load(Ordering::Relaxed)
        });
        // SAFETY: `into` is exclusively borrowed, and initialised: the copy overwrote it with bytes of shared memory.
        unsafe { cells::repair(to, into.len()) };
        copied
    }
}

impl Locked {
    /// Returns one word of the data as it is now, even while another thread changes it: for showing one number to a person.
    /// Returns `None` if there is no word at this place.
    #[must_use]
    pub fn peek_word(&self, at: usize) -> Option<u64> {
        let is_inside = at.is_multiple_of(WORD) && at.checked_add(WORD)? <= self.data_len();
        let from = is_inside.then(|| self.place(at, WORD).as_ptr())?;
        let mut word = 0_u64;
        // SAFETY: `place` checked that the word lies in the data, which stays mapped; `word` is private and as long.
        unsafe { copy((&raw mut word).cast(), from, WORD) };
        Some(word)
    }
}

/// Reports to the sanitizer, which does not look into assembly, that the load from this place acquired what a store to
/// it had released. (A word that is stored by one store is stored at an unchanged version.)
#[inline(always)]
fn acquired(place: *mut u8) {
    #[cfg(mp_tsan)]
    {
        unsafe extern "C" {
            fn __tsan_acquire(place: *mut std::ffi::c_void);
        }
        // SAFETY: it takes any address.
        unsafe { __tsan_acquire(place.cast()) };
    }
    #[cfg(not(mp_tsan))]
    let _ = place;
}

/// Copies `bytes` bytes that another process may be changing.
///
/// # Safety
/// - `shared` is readable and `private` writable for `bytes` bytes; they do not overlap; nobody else uses `private`.
#[inline(always)]
unsafe fn copy(private: *mut u8, shared: *const u8, bytes: usize) {
    let tail = bytes % WORD;
    let words = bytes.wrapping_sub(tail);
    if words > 0 {
        // SAFETY: the words are the first part of the caller's ranges.
        unsafe { copy_words(private, shared, words) };
    }
    if tail > 0 {
        // SAFETY: the tail is the rest of the caller's ranges.
        unsafe { copy_tail(private.wrapping_add(words), shared.wrapping_add(words), tail) };
    }
}

/// # Safety
/// The contract of [`copy`]. In addition, `bytes` is a multiple of 8, and not 0.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
unsafe fn copy_words(private: *mut u8, shared: *const u8, bytes: usize) {
    /// Shorter runs are copied in a loop: `rep movsq` takes about 30 cycles to start.
    const STRING_COPY_FROM_BYTES: usize = 256;
    if bytes == WORD {
        // SAFETY: one word of the caller's ranges.
        unsafe {
            std::arch::asm!(
                "mov {word}, qword ptr [{from}]",
                "mov qword ptr [{to}], {word}",
                word = out(reg) _,
                from = in(reg) shared,
                to = in(reg) private,
                options(nostack, preserves_flags)
            );
        }
    } else if bytes < STRING_COPY_FROM_BYTES {
        // SAFETY: `at` goes from 0 to `bytes`, which is not 0, in steps of a word.
        unsafe {
            std::arch::asm!(
                "2:",
                "mov {word}, qword ptr [{from} + {at}]",
                "mov qword ptr [{to} + {at}], {word}",
                "add {at}, 8",
                "cmp {at}, {bytes}",
                "jb 2b",
                word = out(reg) _,
                at = inout(reg) 0_usize => _,
                from = in(reg) shared,
                to = in(reg) private,
                bytes = in(reg) bytes,
                options(nostack)
            );
        }
    } else {
        // SAFETY: the instruction reads and writes exactly the caller's ranges; the ABI keeps the direction flag clear.
        unsafe {
            std::arch::asm!(
                "rep movsq",
                inout("rcx") bytes / WORD => _,
                inout("rdi") private => _,
                inout("rsi") shared => _,
                options(nostack, preserves_flags)
            );
        }
    }
}

/// # Safety
/// The contract of [`copy`]. In addition, `bytes` is from 1 to 7.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
unsafe fn copy_tail(private: *mut u8, shared: *const u8, bytes: usize) {
    macro_rules! whole {
        ($register:literal, $size:literal) => {
            // SAFETY: this many bytes of the caller's ranges.
            unsafe {
                std::arch::asm!(
                    concat!("mov {part", $register, "}, ", $size, " ptr [{from}]"),
                    concat!("mov ", $size, " ptr [{to}], {part", $register, "}"),
                    part = out(reg) _,
                    from = in(reg) shared,
                    to = in(reg) private,
                    options(nostack, preserves_flags)
                );
            }
        };
    }
    match bytes {
        4 => whole!(":e", "dword"),
        2 => whole!(":x", "word"),
        // SAFETY: `at` goes from 0 to `bytes`, which is at least 1, in steps of a byte.
        _ => unsafe {
            std::arch::asm!(
                "2:",
                "mov {part}, byte ptr [{from} + {at}]",
                "mov byte ptr [{to} + {at}], {part}",
                "inc {at}",
                "cmp {at}, {bytes}",
                "jb 2b",
                part = out(reg_byte) _,
                at = inout(reg) 0_usize => _,
                from = in(reg) shared,
                to = in(reg) private,
                bytes = in(reg) bytes,
                options(nostack)
            );
        },
    }
}

/// # Safety
/// The contract of [`copy`]. In addition, `bytes` is a multiple of 8.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
unsafe fn copy_words(private: *mut u8, shared: *const u8, bytes: usize) {
    use std::sync::atomic::AtomicU64;
    if !shared.addr().is_multiple_of(WORD) {
        // SAFETY: the caller's contract covers the whole call.
        return unsafe { copy_tail(private, shared, bytes) };
    }
    for index in 0..bytes / WORD {
        let from = shared.cast_mut().cast::<u64>().wrapping_add(index);
        // SAFETY: word `index` lies in the caller's range, aligned.
        let word = unsafe { AtomicU64::from_ptr(from) }.load(Ordering::Relaxed);
        // SAFETY: word `index` lies in the caller's range; the private side may have any alignment.
        unsafe { private.cast::<u64>().wrapping_add(index).write_unaligned(word) };
    }
}

/// # Safety
/// The contract of [`copy`].
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
unsafe fn copy_tail(private: *mut u8, shared: *const u8, bytes: usize) {
    use std::sync::atomic::AtomicU8;
    for index in 0..bytes {
        // SAFETY: byte `index` lies in the caller's range.
        let byte = unsafe { AtomicU8::from_ptr(shared.cast_mut().wrapping_add(index)) };
        // SAFETY: byte `index` lies in the caller's range.
        unsafe { private.wrapping_add(index).write(byte.load(Ordering::Relaxed)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_exact_at_every_length_and_alignment() {
        let source: Vec<u8> = (0..700_u32).map(|i| (i * 7 + i / 251).to_le_bytes()[0]).collect();
        for at in 0..9 {
            for bytes in (0..80).chain([248, 255, 256, 263, 264, 600]) {
                let mut copied = vec![0_u8; bytes + 12];
                let (from, to) = (source.as_ptr().wrapping_add(at), copied.as_mut_ptr().wrapping_add(at / 3));
                // SAFETY: 700 bytes hold 9 + 600; `copied` holds `bytes` + 12; both are used only here.
                unsafe { copy(to, from, bytes) };
                assert_eq!(copied[at / 3..at / 3 + bytes], source[at..at + bytes], "{bytes} from {at}");
                assert!(copied[..at / 3].iter().all(|&byte| byte == 0));
                assert!(copied[at / 3 + bytes..].iter().all(|&byte| byte == 0));
            }
        }
    }
}

//! Output that a process has printed but not yet written.

use std::io::Write;
#[cfg(all(target_env = "gnu", target_pointer_width = "64"))]
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

/// Writes what is buffered: before a fork, because otherwise both processes would print it; in a child, because `_exit`
/// does not.
// A child runs other steps as well: see `in_place`.
#[unsafe(link_section = "mp_fork")]
#[inline(never)]
pub(crate) fn flush_output() {
    // A closed stdout loses its output with or without a fork.
    if let Err(error) = std::io::stdout().flush() {
        tracing::debug!(%error, "stdout could not be flushed");
    }
    // The stdout of native code. Flushing every stream of the C library (a null pointer) costs 6 us in faults of copied
    // pages; checking for pending output costs nothing.
    // SAFETY: the C library sets `stdout` before `main`, and this only reads it.
    let stream = unsafe { stdout };
    if has_pending(stream) {
        // SAFETY: the stream is open for the life of the process, or closed by native code that knows what it does.
        unsafe { libc::fflush(stream) };
    }
}

/// The start of glibc's `FILE`, which is part of its ABI: programs built with older headers read it through macros.
#[cfg(all(target_env = "gnu", target_pointer_width = "64"))]
#[repr(C)]
struct Stream {
    flags: AtomicI32,
    read: [AtomicUsize; 3],
    write_base: AtomicUsize,
    write_next: AtomicUsize,
    write_end: AtomicUsize,
    buffer: [AtomicUsize; 2],
    backup: [AtomicUsize; 3],
    others: [AtomicUsize; 2],
    number: AtomicI32,
    flags2: AtomicI32,
    old_offset: AtomicUsize,
    column: [AtomicI32; 2],
    lock: AtomicUsize,
    offset: AtomicUsize,
    wide: [AtomicUsize; 5],
    /// Greater than 0 if the stream has wide characters, which use another buffer.
    mode: AtomicI32,
}

/// Whether the stream has pending output. It reads the words themselves if their place is known, because the function
/// that does so would be one more stretch of code for each child to map.
#[inline(always)]
fn has_pending(stream: *mut libc::FILE) -> bool {
    #[cfg(all(target_env = "gnu", target_pointer_width = "64"))]
    {
        // SAFETY: glibc's streams begin with these words, and this one is never freed. Atomics may be read while native code
        // writes them.
        let words = unsafe { &*stream.cast::<Stream>() };
        if words.mode.load(Ordering::Relaxed) <= 0 {
            return words.write_next.load(Ordering::Relaxed) > words.write_base.load(Ordering::Relaxed);
        }
    }
    // SAFETY: the stream is open for the life of the process, or closed by native code that knows what it does.
    (unsafe { __fpending(stream) }) > 0
}

// The `libc` crate lacks both; glibc and musl have them.
unsafe extern "C" {
    static stdout: *mut libc::FILE;
    fn __fpending(stream: *mut libc::FILE) -> libc::size_t;
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" {
        fn fputws(text: *const libc::wchar_t, stream: *mut libc::FILE) -> libc::c_int;
    }

    #[test]
    fn what_native_code_prints_is_pending_until_it_is_written() {
        for is_wide in [false, true] {
            // SAFETY: both strings end with a zero.
            let stream = unsafe { libc::fopen(c"/dev/null".as_ptr(), c"w".as_ptr()) };
            assert!(!stream.is_null());
            for _ in 0..2 {
                assert!(!has_pending(stream));
                let wide: [libc::wchar_t; 2] = [i32::from(b'x'), 0];
                let printed = if is_wide {
                    // SAFETY: the stream is open, and the string ends with a zero.
                    unsafe { fputws(wide.as_ptr(), stream) }
                } else {
                    // SAFETY: the stream is open, and the string ends with a zero.
                    unsafe { libc::fputs(c"x".as_ptr(), stream) }
                };
                assert!(printed >= 0);
                // SAFETY: the stream is open.
                assert!(unsafe { __fpending(stream) } > 0);
                assert!(has_pending(stream), "wide: {is_wide}");
                // SAFETY: the stream is open.
                assert_eq!(unsafe { libc::fflush(stream) }, 0);
            }
            // SAFETY: the stream is open, and not used any more.
            assert_eq!(unsafe { libc::fclose(stream) }, 0);
        }
    }
}

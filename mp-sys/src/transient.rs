//! Errors that pass by themselves: the same call succeeds a moment later, so no caller sees them.
//!
//! | error | why |
//! |---|---|
//! | `EINTR` | a signal arrived |
//! | `ENOBUFS`, `ENOMEM` | the kernel had no memory for a packet at that moment; a short packet needs so little that the kernel finds it soon |

use rustix::io::Errno;

/// The most calls while the kernel has no memory. After so many, the lack is no longer momentary.
const CALLS_MAX: u32 = 64;

/// Makes a call, and repeats it while its error is only momentary.
#[inline]
pub(crate) fn again<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    let mut calls = 1_u32;
    loop {
        match call() {
            Err(Errno::INTR) => {}
            Err(Errno::NOBUFS | Errno::NOMEM) if calls < CALLS_MAX => {
                calls = calls.saturating_add(1);
                std::thread::yield_now();
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passing_errors_are_retried_and_lasting_ones_are_returned() {
        let refused = |with: Errno, times: u32| {
            let mut calls = 0;
            let outcome = again(|| {
                calls += 1;
                if calls <= times { Err(with) } else { Ok(calls) }
            });
            (outcome, calls)
        };
        assert_eq!(refused(Errno::INTR, 1_000), (Ok(1_001), 1_001));
        assert_eq!(refused(Errno::NOBUFS, CALLS_MAX - 1), (Ok(CALLS_MAX), CALLS_MAX));
        assert_eq!(refused(Errno::NOMEM, CALLS_MAX), (Err(Errno::NOMEM), CALLS_MAX));
        assert_eq!(refused(Errno::AGAIN, 1), (Err(Errno::AGAIN), 1));
    }
}

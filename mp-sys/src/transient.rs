//! Refusals that pass by themselves: the same call succeeds a moment later, so no caller is told of them.
//!
//! | refusal | why |
//! |---|---|
//! | `EINTR` | a signal came |
//! | `ENOBUFS`, `ENOMEM` | the kernel found no memory for a packet at once; a short one needs so little that it finds it soon |

use rustix::io::Errno;

/// Calls in all that are made while the kernel has no memory. That is no moment any more then.
const CALLS_MAX: u32 = 64;

/// Makes a call, and makes it again while it is refused for a moment only.
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
    fn what_passes_is_not_told_and_what_stays_is() {
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

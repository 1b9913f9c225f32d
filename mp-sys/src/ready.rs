//! Finds which of several descriptors are ready.
//!
//! poll(2) wakes every process that polls a descriptor, so no death swallows a wake-up here, and no slices are needed.

mod set;

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::OsError;
use crate::adaptive::Budget;
use crate::deadline::Deadline;
use crate::descriptors::eventfd;

pub(crate) use self::set::is_own_set;
pub use self::set::{READY_AT_ONCE_MAX, ReadySet};

/// Waits until at least one of `files` is readable, at its end, or in error. Returns the indices of those that are, or
/// none if `deadline` has passed.
///
/// # Errors
/// `EINVAL` for more descriptors than the process may have open; `ENOMEM`.
pub fn readable(
    files: &[BorrowedFd<'_>],
    budget: &Budget,
    deadline: Deadline,
) -> Result<Vec<usize>, OsError> {
    let mut polled = to_poll(files);
    // The CPUs of the peers are unknown: the budget learns whether looking again pays off.
    let mut outcome = Ok(0);
    let now = Deadline::after(std::time::Duration::ZERO);
    let look = || {
        outcome = poll(&mut polled, now.remaining_timespec().as_ref());
        !matches!(outcome, Ok(0) | Err(Errno::INTR))
    };
    if !deadline.has_passed() && budget.spin(look, || None) {
        outcome?;
    } else {
        sleep(&mut polled, deadline)?;
    }
    Ok(ready_of(&polled))
}

/// Whether a descriptor is readable, at its end, or in error, at this moment. It never waits. It returns `false` if the
/// kernel returns an error.
#[must_use]
pub fn is_readable(file: BorrowedFd<'_>) -> bool {
    let mut polled = to_poll(&[file]);
    let now = Deadline::after(std::time::Duration::ZERO);
    matches!(poll(&mut polled, now.remaining_timespec().as_ref()), Ok(1..))
}

/// Waits as [`readable`] does, for a caller that knows that looking first does not pay off: it sleeps at once.
///
/// # Errors
/// Fails as [`readable`] does.
pub fn readable_later(files: &[BorrowedFd<'_>], deadline: Deadline) -> Result<Vec<usize>, OsError> {
    let mut polled = to_poll(files);
    sleep(&mut polled, deadline)?;
    Ok(ready_of(&polled))
}

/// Sleeps until at least one is ready, or until `deadline`, whatever signals arrive meanwhile. Returns how many are
/// ready.
pub(crate) fn sleep(polled: &mut [PollFd<'_>], deadline: Deadline) -> Result<usize, Errno> {
    loop {
        let ready = deadline.uninterrupted(|left| poll(polled, left))?.unwrap_or(0);
        if ready > 0 || deadline.has_passed() {
            return Ok(ready);
        }
    }
}

/// Makes a descriptor that becomes readable once any process that has it calls [`give_notice`].
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn notice() -> Result<OwnedFd, OsError> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

/// Makes the descriptor of a [`notice`] readable, for good.
pub fn give_notice(notice: BorrowedFd<'_>) {
    // It fails only if notice was given 2^64 - 2 times, and is readable then.
    let given = rustix::io::write(notice, &1_u64.to_ne_bytes());
    tracing::trace!(given = given.is_ok(), "gave notice");
}

fn to_poll<'a>(files: &[BorrowedFd<'a>]) -> Vec<PollFd<'a>> {
    files.iter().map(|file| PollFd::from_borrowed_fd(*file, PollFlags::IN)).collect()
}

fn ready_of(polled: &[PollFd<'_>]) -> Vec<usize> {
    let is_ready = |polled: &PollFd<'_>| !polled.revents().is_empty();
    polled.iter().enumerate().filter(|(_, polled)| is_ready(polled)).map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_notice_stays_given() {
        let notice = notice().unwrap();
        assert!(!is_readable(notice.as_fd()));
        for _ in 0..2 {
            give_notice(notice.as_fd());
            assert!(is_readable(notice.as_fd()));
        }
    }
}

//! Which of several descriptors is ready.
//!
//! poll(2) wakes everybody who polls a descriptor, so nobody's death swallows a wake-up here, and no slices are needed.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::OsError;
use crate::adaptive::Budget;
use crate::deadline::Deadline;

/// Waits until at least one of `files` is readable, at its end, or in error; gives the indices of those that are, none if
/// `deadline` has passed.
///
/// # Errors
/// `EINVAL` for more descriptors than the process may have open; `ENOMEM`.
pub fn readable(
    files: &[BorrowedFd<'_>],
    budget: &Budget,
    deadline: Deadline,
) -> Result<Vec<usize>, OsError> {
    let mut polled = to_poll(files);
    // Where the peers run is not known: the budget learns whether looking again pays.
    let mut outcome = Ok(0);
    let now = Deadline::after(std::time::Duration::ZERO);
    let look = || {
        outcome = poll(&mut polled, now.remaining_timespec().as_ref());
        !matches!(outcome, Ok(0) | Err(Errno::INTR))
    };
    if deadline.has_passed() {
        outcome = poll(&mut polled, now.remaining_timespec().as_ref());
    } else {
        budget.spin(look, || None);
    }
    ready_of(&mut polled, outcome, deadline)
}

/// As [`readable`], for a caller that knows that looking first does not pay: it sleeps at once.
///
/// # Errors
/// As [`readable`].
pub fn readable_later(files: &[BorrowedFd<'_>], deadline: Deadline) -> Result<Vec<usize>, OsError> {
    let mut polled = to_poll(files);
    let outcome = poll(&mut polled, deadline.remaining_timespec().as_ref());
    ready_of(&mut polled, outcome, deadline)
}

fn to_poll<'a>(files: &[BorrowedFd<'a>]) -> Vec<PollFd<'a>> {
    files.iter().map(|file| PollFd::from_borrowed_fd(*file, PollFlags::IN)).collect()
}

/// Sleeps until the deadline if nothing is ready yet.
fn ready_of(
    polled: &mut [PollFd<'_>],
    mut outcome: Result<usize, Errno>,
    deadline: Deadline,
) -> Result<Vec<usize>, OsError> {
    while matches!(outcome, Ok(0) | Err(Errno::INTR)) && !deadline.has_passed() {
        outcome = poll(polled, deadline.remaining_timespec().as_ref());
    }
    match outcome {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let is_ready = |polled: &PollFd<'_>| !polled.revents().is_empty();
    Ok(polled.iter().enumerate().filter(|(_, polled)| is_ready(polled)).map(|(index, _)| index).collect())
}

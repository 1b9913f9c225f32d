//! Sockets that a service manager listens at, and passes to the process that serves them (systemd's socket activation).
//!
//! The sockets have the numbers from 3 on. The environment says how many there are (`LISTEN_FDS`), what they are called
//! (`LISTEN_FDNAMES`), and for which process they are (`LISTEN_PID`), since children inherit the environment.
//!
//! This module makes copies of the descriptors. It cannot know that nothing else in the process owns these numbers, so it does
//! not close them. They get `CLOEXEC`, so that no child has the sockets.
//!
//! Source: sd_listen_fds(3).

use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::getpid;

use crate::OsError;
use crate::descriptors::duplicate;

/// The number of the first descriptor that a service manager passes.
const FIRST: RawFd = 3;
/// The most descriptors that a service manager passes.
pub const GIVEN_MAX: usize = 1_024;

/// Why the sockets of a service manager cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActivationError {
    /// `LISTEN_PID` is this process, but `LISTEN_FDS` is not a number of descriptors.
    #[error("LISTEN_FDS is not a number from 0 to {GIVEN_MAX}")]
    Malformed,
    /// The environment promises a descriptor that is not open.
    #[error("LISTEN_FDS promises the descriptor {number}, which is not open")]
    NotOpen {
        /// Its number.
        number: i32,
    },
    /// The operating system refused.
    #[error(transparent)]
    System(#[from] OsError),
}

/// A descriptor that a service manager has passed.
#[derive(Debug)]
pub struct Given {
    /// Its name: `FileDescriptorName=` of the socket unit, or an empty one.
    pub name: String,
    /// The descriptor.
    pub file: OwnedFd,
}

/// Returns the descriptors that a service manager has passed to this process. Only the first successful call in a process
/// returns any.
///
/// # Errors
/// [`ActivationError`].
pub fn take() -> Result<Vec<Given>, ActivationError> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let of = |variable| std::env::var(variable).ok();
    let own = getpid().as_raw_pid();
    let names = names_of(own, of("LISTEN_PID"), of("LISTEN_FDS"), of("LISTEN_FDNAMES"))?;
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let taken: Result<_, _> = (FIRST..).zip(names).map(|(number, name)| take_one(number, name)).collect();
    if taken.is_err() {
        TAKEN.store(false, Ordering::SeqCst);
    }
    taken
}

fn take_one(number: RawFd, name: String) -> Result<Given, ActivationError> {
    // SAFETY: the number is not -1. The calls below fail if it is not open, and neither close nor change its file.
    let given = unsafe { BorrowedFd::borrow_raw(number) };
    let refused = |error| match error {
        Errno::BADF => ActivationError::NotOpen { number },
        error => ActivationError::System(error.into()),
    };
    let file = duplicate(given).map_err(refused)?;
    fcntl_setfd(given, FdFlags::CLOEXEC).map_err(refused)?;
    Ok(Given { name, file })
}

/// Returns a name for each descriptor, or none if the descriptors are for another process.
fn names_of(
    own: i32,
    pid: Option<String>,
    count: Option<String>,
    names: Option<String>,
) -> Result<Vec<String>, ActivationError> {
    if pid.and_then(|pid| pid.parse().ok()) != Some(own) {
        return Ok(Vec::new());
    }
    let count = count.unwrap_or_default().parse().map_err(|_| ActivationError::Malformed)?;
    if count > GIVEN_MAX {
        return Err(ActivationError::Malformed);
    }
    let names = names.unwrap_or_default();
    let names = names.split(':').map(str::to_owned).chain(std::iter::repeat_with(String::new));
    Ok(names.take(count).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pid: &str, count: &str, names: &str) -> Result<Vec<String>, ActivationError> {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        names_of(7, given(pid), given(count), given(names))
    }

    #[test]
    fn each_descriptor_for_this_process_has_a_name() {
        assert_eq!(names("7", "2", "local:tcp"), Ok(vec!["local".to_owned(), "tcp".to_owned()]));
        assert_eq!(names("7", "2", "local"), Ok(vec!["local".to_owned(), String::new()]));
        assert_eq!(names("7", "1", ""), Ok(vec![String::new()]));
        assert_eq!(names("7", "1", "local:more"), Ok(vec!["local".to_owned()]));
        assert_eq!(names("7", "0", "local"), Ok(vec![]));
        for (pid, count) in [("8", "2"), ("", "2"), ("", ""), ("text", "x"), ("-7", "1")] {
            assert_eq!(names(pid, count, "local"), Ok(vec![]), "it is for another process");
        }
    }

    #[test]
    fn the_number_is_checked() {
        let most = GIVEN_MAX.to_string();
        assert_eq!(names("7", &most, "").map(|names| names.len()), Ok(GIVEN_MAX));
        for count in ["1025", "-1", "x", "", "99999999999999999999"] {
            assert_eq!(names("7", count, ""), Err(ActivationError::Malformed), "{count}");
        }
    }

    #[test]
    fn a_process_without_such_an_environment_has_none() {
        assert!(take().unwrap().is_empty());
        let missing = take_one(RawFd::MAX, String::new());
        assert_eq!(missing.unwrap_err(), ActivationError::NotOpen { number: RawFd::MAX });
    }
}

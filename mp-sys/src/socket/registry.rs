//! The endpoints of this process, so that a forked child can give up those that were not passed to it.
//!
//! The kernel reports the end of a stream when the last copy of the other end is closed, and a fork copies all ends. A
//! child that does not use an endpoint must not delay the end of the stream.
//!
//! An endpoint cannot simply be closed: some inherited value still owns the number, would use it, and would close it
//! again when it is dropped. So the number is redirected to something harmless: one end of a pair whose other end is
//! closed. Any use of it then reports that the stream has ended.

use std::collections::HashSet;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Weak};

use rustix::io::{DupFlags, dup3};

use crate::OsError;
use crate::descriptors::packet_socketpair;
use crate::fork::PerProcess;

/// A child starts with its parent's endpoints, because it has all of them.
static ENDPOINTS: PerProcess<Endpoints> = PerProcess::inherited();

#[derive(Debug, Default)]
struct Endpoints {
    files: Vec<Weak<OwnedFd>>,
    /// When there are this many entries, those of closed endpoints are removed.
    clean_at: usize,
}

/// The number of entries below which cleaning does not pay off.
const CLEAN_AT_MIN: usize = 64;

pub(super) fn register(file: &Arc<OwnedFd>) {
    let mut endpoints = ENDPOINTS.lock();
    if endpoints.files.len() >= endpoints.clean_at {
        endpoints.files.retain(|file| file.strong_count() > 0);
        // Twice the number that is left, so that each entry is checked a bounded number of times.
        endpoints.clean_at = endpoints.files.len().saturating_mul(2).max(CLEAN_AT_MIN);
    }
    endpoints.files.push(Arc::downgrade(file));
}

/// What replaces an endpoint that a process gives up: an end of a pair whose other end is closed.
///
/// It is made before the fork, so that the parent sees an error if descriptors run out.
#[derive(Debug)]
pub struct Ended {
    file: OwnedFd,
}

impl Ended {
    /// Makes such an end.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new() -> Result<Self, OsError> {
        let (file, other) = packet_socketpair()?;
        drop(other);
        Ok(Self { file })
    }

    /// Gives up every endpoint of this process except those whose numbers are in `keep`: from now on, they report the
    /// end of their stream.
    ///
    /// # Errors
    /// Those of dup3(2); none of its documented errors can occur here.
    pub fn replace_all_but(&self, keep: &HashSet<RawFd>) -> Result<(), OsError> {
        let given_up: Vec<Arc<OwnedFd>> = {
            let endpoints = ENDPOINTS.lock();
            let open = endpoints.files.iter().filter_map(Weak::upgrade);
            open.filter(|file| !keep.contains(&file.as_raw_fd())).collect()
        };
        given_up.iter().try_for_each(|file| replace(file, &self.file))
    }
}

/// Makes the number of `file` a copy of `with`.
fn replace(file: &Arc<OwnedFd>, with: &OwnedFd) -> Result<(), OsError> {
    // SAFETY: `file` owns an open descriptor of this number and stays alive; the second owner is never dropped.
    let number = unsafe { OwnedFd::from_raw_fd(file.as_raw_fd()) };
    let mut number = ManuallyDrop::new(number);
    // dup3 closes the old file of the number and assigns the new one in one step.
    Ok(dup3(with, &mut number, DupFlags::CLOEXEC)?)
}

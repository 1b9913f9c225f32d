//! Processes of other PID namespaces, for tests.
//!
//! The first process of a namespace has the id 1 there, and so has its thread: one in a namespace inside of another gives
//! two that run at the same time with equal ids. That way round it needs no privilege but a user namespace.

use rustix::io::Errno;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::child::ChildProcess;
use crate::testing::spawn;

/// As [`spawn`], as the first process of a new PID namespace. From then on, all children of the caller are in that
/// namespace; so a process calls this once.
///
/// # Errors
/// In words, if the system does not permit it.
///
/// # Panics
/// If there is no child.
pub fn spawn_in_new_pid_namespace(body: impl FnOnce()) -> Result<ChildProcess, String> {
    match unshare(UnshareFlags::NEWPID) {
        // Whoever may make user namespaces is privileged in a new one.
        Err(Errno::PERM) => unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWPID),
        other => other,
    }
    .map_err(|errno| format!("no new PID namespace: {errno}"))?;
    Ok(spawn(body))
}

/// Gives the calling thread namespaces of its own.
pub(super) fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: descriptors stay shared (no FILES flag), which is what the call asks for.
    unsafe { unshare_unsafe(flags) }
}

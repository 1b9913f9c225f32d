//! Processes in other PID and time namespaces, for tests.
//!
//! The first process of a namespace has the id 1 there, and so does its thread. A namespace inside another one
//! therefore makes two processes that run at the same time with equal ids. This way needs no privilege except a user
//! namespace.

use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::child::ChildProcess;
use crate::testing::spawn;

/// Forks as [`spawn`] does, and makes the child the first process of a new PID namespace. From then on, all children of
/// the caller are in that namespace, so a process calls this once.
///
/// # Errors
/// A text, if the system does not permit it.
///
/// # Panics
/// If there is no child.
pub fn spawn_in_new_pid_namespace(body: impl FnOnce()) -> Result<ChildProcess, String> {
    match unshare(UnshareFlags::NEWPID) {
        // A process that may make user namespaces is privileged in a new one.
        Err(Errno::PERM) => unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWPID),
        other => other,
    }
    .map_err(|errno| format!("no new PID namespace: {errno}"))?;
    Ok(spawn(body))
}

/// Forks as [`spawn`] does, with the monotonic clock and the clock since boot `ahead` of the caller's. From then on,
/// all children of the caller have such clocks, so a process calls this once.
///
/// # Errors
/// A text, if the system does not permit it.
///
/// # Panics
/// If there is no child.
pub fn spawn_with_clocks_ahead(ahead: Duration, body: impl FnOnce()) -> Result<ChildProcess, String> {
    match unshare(UnshareFlags::NEWTIME) {
        Err(Errno::PERM) => unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWTIME),
        other => other,
    }
    .map_err(|errno| format!("no new time namespace: {errno}"))?;
    let seconds = ahead.as_secs();
    // By number, because their names are known only since Linux 5.7.
    let offsets = format!("{} {seconds} 0\n{} {seconds} 0\n", libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME);
    std::fs::write("/proc/self/timens_offsets", offsets)
        .map_err(|error| format!("no clocks ahead: {error}"))?;
    Ok(spawn(body))
}

/// Gives the calling process, which has one thread, its own user namespace. A process outside maps its users.
///
/// # Errors
/// A text, if the system does not permit it.
pub fn enter_user_namespace() -> Result<(), String> {
    unshare(UnshareFlags::NEWUSER).map_err(|errno| format!("no new user namespace: {errno}"))
}

/// Gives the calling thread its own namespaces.
pub(super) fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: descriptors stay shared (no FILES flag), which is what the call asks for.
    unsafe { unshare_unsafe(flags) }
}

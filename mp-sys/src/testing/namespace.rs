//! Processes of other PID and time namespaces, for tests.
//!
//! The first process of a namespace has the id 1 there, and so has its thread: one in a namespace inside of another gives
//! two that run at the same time with equal ids. That way round it needs no privilege but a user namespace.

use std::time::Duration;

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

/// As [`spawn`], with clocks that are `ahead` of the caller's: the monotonic one, and the one since boot. From then on, all children
/// of the caller have such clocks; so a process calls this once.
///
/// # Errors
/// In words, if the system does not permit it.
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
    // By number: their names are known since Linux 5.7.
    let offsets = format!("{} {seconds} 0\n{} {seconds} 0\n", libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME);
    std::fs::write("/proc/self/timens_offsets", offsets)
        .map_err(|error| format!("no clocks ahead: {error}"))?;
    Ok(spawn(body))
}

/// Gives the calling process, which has one thread, a user namespace of its own. Somebody outside maps its users.
///
/// # Errors
/// In words, if the system does not permit it.
pub fn enter_user_namespace() -> Result<(), String> {
    unshare(UnshareFlags::NEWUSER).map_err(|errno| format!("no new user namespace: {errno}"))
}

/// Gives the calling thread namespaces of its own.
pub(super) fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: descriptors stay shared (no FILES flag), which is what the call asks for.
    unsafe { unshare_unsafe(flags) }
}

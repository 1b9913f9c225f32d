//! fork(2), _exit(2) and waitpid(2), without a handle, a result or a check of what the child inherits; and the same for
//! a program that posix_spawn(3) executes.
#![expect(unsafe_code, reason = "fork without anything around it")]

use std::ptr;

use anyhow::{Result, bail, ensure};

/// Forks a child that ends at once, and waits for it.
pub(crate) fn fork_and_wait() -> Result<()> {
    // SAFETY: the child calls only `_exit`, which is async-signal-safe.
    match unsafe { libc::fork() } {
        -1 => bail!("no child: {}", std::io::Error::last_os_error()),
        // SAFETY: _exit(2) ends the process and has no conditions.
        0 => unsafe { libc::_exit(0) },
        child => {
            // SAFETY: the status may be null, because nothing reads it.
            let waited = unsafe { libc::waitpid(child, ptr::null_mut(), 0) };
            ensure!(waited == child, "the child cannot be waited for: {}", std::io::Error::last_os_error());
            Ok(())
        }
    }
}

/// The environment variable that tells a started copy of the benchmark to end at once.
const END_AT_ONCE: &str = "MP_BENCH_END_AT_ONCE";

/// Whether this process is such a copy. `main` checks this first.
pub(crate) fn is_to_end_at_once() -> bool {
    std::env::var_os(END_AT_ONCE).is_some()
}

/// Executes this program again, in a copy that ends at once, and waits for it. `std` uses posix_spawn(3) for that.
pub(crate) fn spawn_and_wait() -> Result<()> {
    let mut command = std::process::Command::new("/proc/self/exe");
    let status = command.env(END_AT_ONCE, "1").stdin(std::process::Stdio::null()).status()?;
    ensure!(status.success(), "the copy ended with {status}");
    Ok(())
}

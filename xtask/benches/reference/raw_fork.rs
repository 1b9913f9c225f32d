//! fork(2), _exit(2) and waitpid(2), without a handle, a result or a check of what the child inherits.
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
            // SAFETY: the status may be null: nobody wants it.
            let waited = unsafe { libc::waitpid(child, ptr::null_mut(), 0) };
            ensure!(waited == child, "the child cannot be waited for: {}", std::io::Error::last_os_error());
            Ok(())
        }
    }
}

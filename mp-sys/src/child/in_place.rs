//! What a newly forked child pays for: code.
//!
//! A fork copies no mapping of code. So each stretch of 64 KiB that the child runs through costs it a fault, about 1
//! us. For that reason, the functions that every child runs stand together in one section, and the system calls between
//! its start and its end are inlined instead of called in the C library.

use std::os::fd::{AsFd, IntoRawFd, OwnedFd};

use rustix::io::{Errno, pwrite};

use crate::OsError;

/// Closes a descriptor.
#[inline]
pub(super) fn close(file: OwnedFd) {
    // SAFETY: the descriptor belonged to the caller, who has given it up.
    unsafe { rustix::io::close(file.into_raw_fd()) };
}

/// Writes all bytes to a place in a file.
///
/// # Errors
/// Those of pwrite(2), for example `ENOSPC`; some of the bytes may have been written.
#[inline]
pub fn write_at(file: impl AsFd, mut bytes: &[u8], mut at: u64) -> Result<(), OsError> {
    while !bytes.is_empty() {
        match pwrite(&file, bytes, at) {
            Ok(0) => return Err(Errno::IO.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                at = at.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

//! An error number of the system, as a small value that error enums can carry and compare.

use std::fmt;

use rustix::io::Errno;

/// The error number of the kernel, for errors without a variant of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OsError(i32);

impl OsError {
    /// The number, as in errno(3).
    #[must_use]
    pub fn raw_os_error(self) -> i32 {
        self.0
    }
}

impl From<Errno> for OsError {
    fn from(errno: Errno) -> Self {
        Self(errno.raw_os_error())
    }
}

impl From<std::io::Error> for OsError {
    /// Converts an error; one that does not come from the kernel has no number, and becomes `EIO`.
    fn from(error: std::io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()))
    }
}

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

impl std::error::Error for OsError {}

//! Why a name cannot be given or opened.

use rustix::io::Errno;

use super::file::NAME_BYTES_MAX;
use crate::OsError;
use crate::memory::MemoryError;

/// Why there is no segment with this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name is empty, longer than [`NAME_BYTES_MAX`] bytes, or contains a `/` or NUL.
    #[error("a name has 1 to {NAME_BYTES_MAX} bytes and no '/' or NUL")]
    BadName,
    /// Another process already uses this name.
    #[error("the name is in use")]
    Exists,
    /// No process uses this name.
    #[error("nobody uses this name")]
    NotFound,
    /// Another kind of object, or another element type, has this name.
    #[error("another type has this name")]
    WrongType,
    /// The object of this name has another number of bytes or parties than the caller asked for.
    #[error("the object of this name has another size")]
    OtherSize,
    /// The segment was made by an incompatible build: another layout version, word size or C library. Or the file is not a segment.
    #[error("the segment was made by an incompatible build")]
    WrongVersion,
    /// The object has no name.
    #[error("the object has no name")]
    Unnamed,
    /// The segment belongs to another user, or other users can change it.
    #[error("no permission for this name")]
    PermissionDenied,
    /// There is no `/dev/shm`, the folder of objects with names.
    #[error("there is no /dev/shm for objects with names")]
    NoFolder,
    /// An object gets its name through /proc, which is not mounted. (From Linux 6.10 on, and for root, it is not needed.)
    #[error("/proc is not mounted: an object gets its name through it")]
    NoProc,
    /// There is no memory for the segment.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

impl From<Errno> for NameError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::EXIST => Self::Exists,
            Errno::NOENT => Self::NotFound,
            Errno::ACCESS | Errno::PERM => Self::PermissionDenied,
            Errno::MFILE | Errno::NFILE => Self::Memory(MemoryError::OutOfDescriptors),
            Errno::NOSPC => Self::Memory(MemoryError::NoSpace { wanted: 1, available: 0 }),
            other => Self::Memory(MemoryError::System(OsError::from(other))),
        }
    }
}

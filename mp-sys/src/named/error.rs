//! Why a name cannot be given or opened.

use rustix::io::Errno;

use super::file::NAME_BYTES_MAX;
use crate::OsError;
use crate::memory::MemoryError;

/// Why there is no segment with this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    #[error("the name {name:?} belongs to {}, not to {}", with_article(found), with_article(expected))]
    WrongType {
        /// The name.
        name: String,
        /// What has the name, as its header claims: `Value<u64>`. The element type is cut and escaped.
        found: String,
        /// What the caller asked for: `Array<u64>`.
        expected: String,
    },
    /// The object of this name has another number of bytes or parties than the caller asked for.
    #[error("the name {name:?} belongs to an object with {found} {unit}, not {expected}")]
    OtherSize {
        /// The name.
        name: String,
        /// The size of the object that has the name.
        found: usize,
        /// The size that the caller asked for.
        expected: usize,
        /// What the two sizes count: `"bytes"` or `"parties"`.
        unit: &'static str,
    },
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

/// Puts "a" or "an" before what an error calls an object.
fn with_article(object: &str) -> String {
    let sounds_like_a_vowel = object.starts_with(['A', 'E', 'I', 'O', 'o'])
        || object.starts_with("RLock")
        || object.starts_with("RwLock");
    format!("{} {object}", if sounds_like_a_vowel { "an" } else { "a" })
}

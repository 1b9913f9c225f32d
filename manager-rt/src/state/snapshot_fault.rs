//! [`SnapshotFault`]: why a snapshot cannot be restored.

use mp_sys::OsError;

use crate::account::Full;
use crate::proto::Fault;

/// The version of the format. A build reads its own version only.
pub(crate) const VERSION: u32 = 1;

/// Why a snapshot cannot be restored. Nothing of it was restored then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotFault {
    /// The file does not begin as a snapshot does.
    #[error("it is not a snapshot of a manager")]
    NotASnapshot,
    /// Another build wrote the snapshot, in another version of the format.
    #[error("it has version {found} of the format, and this build knows version {VERSION}")]
    Version {
        /// The version of the file.
        found: u32,
    },
    /// What was written is not what is read.
    #[error("it is damaged in the {bytes} bytes from byte {at} on")]
    Damaged {
        /// Where the damaged block begins.
        at: u64,
        /// The bytes of the block.
        bytes: u64,
    },
    /// The file ends before the snapshot does.
    #[error("it is incomplete: it ends at byte {at}")]
    Incomplete {
        /// The length of the file.
        at: u64,
    },
    /// The file contains what no manager saves, up to this byte. Whoever wrote it also computed the checksums.
    #[error("it contains before byte {at} what no manager saves")]
    Invalid {
        /// The end of the block that was read last.
        at: u64,
    },
    /// The objects exceed a limit of the manager, such as that of its memory.
    #[error("the manager cannot hold what is in it: {0}")]
    Limit(Fault),
    /// Another server [keeps](crate::ServerBuilder::keep) its objects in the file, or a process that was forked for a snapshot is
    /// still writing to it.
    #[error("another server keeps its objects in it")]
    KeptByAnother,
    /// The file cannot be read.
    #[error(transparent)]
    System(#[from] OsError),
}

impl From<Full> for SnapshotFault {
    fn from(full: Full) -> Self {
        Self::Limit(full.into())
    }
}

impl From<Fault> for SnapshotFault {
    fn from(fault: Fault) -> Self {
        Self::Limit(fault)
    }
}

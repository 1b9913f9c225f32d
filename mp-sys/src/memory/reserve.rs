//! Files in memory, and how they get and lose their memory: in steps, each of which the budget allows.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

#[cfg(not(miri))]
use rustix::fs::fallocate;
use rustix::fs::{FallocateFlags, MemfdFlags};
use rustix::io::Errno;

#[cfg(miri)]
use super::stand_in::{fallocate, memfd_create};
use super::{MemoryError, length_u64};
use crate::budget::{self, Claim, UnderWay};
#[cfg(not(miri))]
use crate::descriptors::memfd_create;
use crate::transient::again;

/// Bytes reserved in one step; before each, the budget is asked again.
pub const RESERVE_STEP_BYTES: usize = 64 << 20;
/// Bytes of the shortest step. A signal that comes during one undoes it whole, so steps become shorter while signals come:
/// a program with a timer would else begin the same one for ever.
const RESERVE_STEP_BYTES_MIN: u64 = 64 << 10;

/// Gives back the memory of a part of a file in memory; it reads as zeros then.
///
/// # Errors
/// [`MemoryError::System`].
pub fn give_back(file: impl AsFd, at: u64, bytes: u64) -> Result<(), MemoryError> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(again(|| fallocate(&file, flags, at, bytes))?)
}

/// Makes an empty anonymous file in memory, closed on exec. Writing to it takes memory: ask [`budget::available`] first.
///
/// # Errors
/// [`MemoryError::OutOfDescriptors`].
pub fn make_memfd() -> Result<OwnedFd, MemoryError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create("mp", flags | MemfdFlags::NOEXEC_SEAL) {
        // NOEXEC_SEAL is unknown before Linux 6.3.
        Err(Errno::INVAL) => Ok(memfd_create("mp", flags)?),
        result => Ok(result?),
    }
}

/// Whether a file of this process may have so many bytes. A longer one would raise SIGXFSZ, which kills.
///
/// # Errors
/// [`MemoryError::FileSizeLimit`].
pub(crate) fn may_be_as_long(wanted: u64) -> Result<(), MemoryError> {
    match budget::file_size_limit() {
        Some(limit) if wanted > limit => Err(MemoryError::FileSizeLimit { wanted, limit }),
        _ => Ok(()),
    }
}

/// Has the kernel give memory to a piece of a file that has been asked for and claimed.
pub(super) fn allocate(file: impl AsFd, at: u64, wanted: u64) -> Result<(), MemoryError> {
    match again(|| fallocate(&file, FallocateFlags::empty(), at, wanted)) {
        Err(Errno::NOSPC | Errno::NOMEM | Errno::FBIG) => Err(MemoryError::NoSpace { wanted, available: 0 }),
        result => Ok(result?),
    }
}

/// Reserves `length` bytes step by step, and claims them. A file that could not be reserved whole is dropped by the caller,
/// which gives everything back.
pub(crate) fn reserve(file: BorrowedFd<'_>, length: usize) -> Result<Claim, MemoryError> {
    reserve_piece(file, 0, length_u64(length))
}

/// Reserves a piece of a file step by step, and claims it. A piece that could not be reserved whole may have some of its
/// memory.
///
/// # Errors
/// [`MemoryError::NoSpace`].
pub(crate) fn reserve_piece(file: BorrowedFd<'_>, at: u64, wanted: u64) -> Result<Claim, MemoryError> {
    may_be_as_long(at.saturating_add(wanted))?;
    let claim = Claim::of(wanted).map_err(|error| match error {
        MemoryError::NoSpace { wanted, available } => {
            MemoryError::NoSpace { wanted, available: available.min(budget::available(at)) }
        }
        other => other,
    })?;
    let mut under_way = UnderWay::begin(wanted);
    let (mut reserved, mut longest) = (0_u64, length_u64(RESERVE_STEP_BYTES));
    while reserved < wanted {
        let step = wanted.saturating_sub(reserved).min(longest);
        let here = at.saturating_add(reserved);
        let available = budget::available_to_claimed(here, under_way.by_others());
        // Before the first step, all of it must be there.
        let needed = if reserved == 0 { wanted } else { step };
        if needed > available {
            return Err(MemoryError::NoSpace { wanted, available });
        }
        match fallocate(file, FallocateFlags::empty(), here, step) {
            Ok(()) => {
                reserved = reserved.saturating_add(step);
                under_way.done(step);
            }
            Err(Errno::INTR) => longest = (step / 2).max(RESERVE_STEP_BYTES_MIN),
            // The limit became lower meanwhile.
            Err(Errno::FBIG) => may_be_as_long(u64::MAX)?,
            Err(Errno::NOSPC | Errno::NOMEM) => {
                return Err(MemoryError::NoSpace { wanted, available: reserved });
            }
            Err(other) => return Err(other.into()),
        }
    }
    Ok(claim)
}

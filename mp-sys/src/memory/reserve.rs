//! Files in memory, and how they get and lose their memory: in steps, each of which the budget must allow.

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

/// Bytes reserved in one step. The budget is checked again before each step.
pub const RESERVE_STEP_BYTES: usize = 64 << 20;
/// Bytes of the shortest step. A signal that arrives during a step undoes all of it, so steps become shorter while
/// signals arrive. Otherwise, a program with a timer would start the same step over and over.
const RESERVE_STEP_BYTES_MIN: u64 = 64 << 10;

/// Returns the memory of a part of a file in memory to the system; that part then reads as zeros.
///
/// # Errors
/// [`MemoryError::System`].
pub fn give_back(file: impl AsFd, at: u64, bytes: u64) -> Result<(), MemoryError> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(again(|| fallocate(&file, flags, at, bytes))?)
}

/// Makes an empty anonymous file in memory, closed on exec. Writing to it takes memory: check [`budget::available`]
/// first.
///
/// # Errors
/// [`MemoryError::OutOfDescriptors`].
pub fn make_memfd() -> Result<OwnedFd, MemoryError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create("mp", flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3, NOEXEC_SEAL is unknown.
        Err(Errno::INVAL) => Ok(memfd_create("mp", flags)?),
        result => Ok(result?),
    }
}

/// Checks that a file of this process may have this many bytes. A longer one would raise SIGXFSZ, which kills the
/// process.
///
/// # Errors
/// [`MemoryError::FileSizeLimit`].
pub(crate) fn may_be_as_long(wanted: u64) -> Result<(), MemoryError> {
    match budget::file_size_limit() {
        Some(limit) if wanted > limit => Err(MemoryError::FileSizeLimit { wanted, limit }),
        _ => Ok(()),
    }
}

/// Makes the kernel allocate memory for a piece of a file, after it was requested and claimed.
pub(super) fn allocate(file: impl AsFd, at: u64, wanted: u64) -> Result<(), MemoryError> {
    match again(|| fallocate(&file, FallocateFlags::empty(), at, wanted)) {
        Err(Errno::NOSPC | Errno::NOMEM | Errno::FBIG) => Err(MemoryError::NoSpace { wanted, available: 0 }),
        result => Ok(result?),
    }
}

/// Reserves `length` bytes step by step, and claims them. If the file could not be reserved as a whole, the caller
/// drops it, which frees everything.
pub(crate) fn reserve(file: BorrowedFd<'_>, length: usize) -> Result<Claim, MemoryError> {
    reserve_piece(file, 0, length_u64(length))
}

/// Reserves a piece of a file step by step, and claims it. If the piece could not be reserved as a whole, a part of it
/// may have memory.
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
        // Before the first step, memory for all steps must be available.
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
            // The limit was lowered meanwhile.
            Err(Errno::FBIG) => may_be_as_long(u64::MAX)?,
            Err(Errno::NOSPC | Errno::NOMEM) => {
                return Err(MemoryError::NoSpace { wanted, available: reserved });
            }
            Err(other) => return Err(other.into()),
        }
    }
    Ok(claim)
}

//! Shared memory: mappings that are reserved before they are used.
//!
//! A [`Mapping`] is an anonymous file that lives in memory and is mapped once. Its pages are reserved when it is made,
//! so that a store into it can never end in SIGBUS. It can never shrink, it is closed on exec, and it disappears when
//! the last process unmaps it. [`span`](crate::span) hands out its bytes.
//!
//! Source: memfd_create(2), fallocate(2), fcntl(2) F_ADD_SEALS.

mod reserve;
#[cfg(miri)]
mod stand_in;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use memmap2::MmapRaw;
#[cfg(not(miri))]
use rustix::fs::ftruncate;
use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use rustix::io::Errno;

pub use self::reserve::{RESERVE_STEP_BYTES, give_back, make_memfd};
pub(crate) use self::reserve::{may_be_as_long, reserve, reserve_piece};
use crate::budget::{self, Claim};
use crate::locked::suspects;
use crate::named::FileName;
use crate::quiet::{Note, tell};
use crate::span::chunks;
use crate::span::directory::Directory;
use crate::transient::again;
use crate::{OsError, copy, named};

#[cfg(not(miri))]
pub(crate) use rustix::fs::fcntl_add_seals;

#[cfg(miri)]
pub(crate) use self::stand_in::fcntl_add_seals;
#[cfg(miri)]
use self::stand_in::{ftruncate, map};

/// The most bytes of one mapping: 16 TiB, which is far above any machine and far below where offsets overflow.
pub const MAPPING_BYTES_MAX: usize = 1 << 44;
/// Mappings from this size on are left out of core dumps.
const DONT_DUMP_FROM_BYTES: usize = 16 << 20;

/// Why there is no memory. Nothing was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// Less memory is available than requested. The machine, the control group and `MP_SHM_MAX` all count. Nothing was
    /// written.
    #[error("no space for {wanted} bytes of shared memory: {available} bytes are available")]
    NoSpace {
        /// The requested number of bytes.
        wanted: u64,
        /// The number of bytes that were available.
        available: u64,
    },
    /// The file would exceed this process's limit for the length of a file: `RLIMIT_FSIZE`. Writing beyond it would
    /// raise SIGXFSZ, which kills the process, so nothing was written.
    #[error("shared memory needs a file of {wanted} bytes, and the limit is {limit} bytes (RLIMIT_FSIZE)")]
    FileSizeLimit {
        /// Bytes of the file.
        wanted: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The process or the machine has no free descriptor.
    #[error("no free file descriptor for shared memory")]
    OutOfDescriptors,
    /// The kernel returned another error.
    #[error("the kernel refused to make shared memory: {0}")]
    System(#[source] OsError),
}

impl From<Errno> for MemoryError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::MFILE | Errno::NFILE => Self::OutOfDescriptors,
            other => Self::System(other.into()),
        }
    }
}

/// A file in memory, mapped for reading and writing.
/// It is unmapped when its last `Arc` is dropped, unless a thread of this process still holds a lock in it: see
/// `suspects`.
#[derive(Debug)]
pub struct Mapping {
    /// `None` only in `drop`.
    raw: Option<MmapRaw>,
    /// Bytes that the budget counts for it.
    counted: AtomicU64,
    /// Shared, so that a message can carry it.
    file: Arc<OwnedFd>,
    /// The directory, if the mapping is a chunk whose objects can be sent.
    pub(crate) directory: Option<Directory>,
    /// Whether [`suspects`] has noted locks of this mapping.
    suspected: AtomicBool,
    /// Removes the file's name. Fields are dropped in order, so the file is closed by then.
    name: OnceLock<FileName>,
}

// MmapRaw is Send and Sync: it is an address and a length.

impl Mapping {
    /// Makes a mapping of at least `bytes` zeroed bytes, rounded up to whole pages and reserved.
    ///
    /// # Errors
    /// [`MemoryError::NoSpace`] before anything is written, if that much memory is not available.
    pub fn new(bytes: usize) -> Result<Arc<Self>, MemoryError> {
        let file = make_memfd()?;
        let (length, claim) = Self::reserve(&file, bytes)?;
        // EPERM would mean a kernel without sealing. Only processes that receive the file can reach it, so the code
        // goes on.
        if let Err(error) = fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW) {
            tell(Note::Refused(not_sealed, error.into()));
        }
        Self::of_file(file, length, claim)
    }

    /// Makes a mapping in an empty file that is in memory. The file is not sealed.
    ///
    /// # Errors
    /// Fails as [`new`](Self::new) does.
    pub(crate) fn reserve_in(file: OwnedFd, bytes: usize) -> Result<Arc<Self>, MemoryError> {
        let (length, claim) = Self::reserve(&file, bytes)?;
        Self::of_file(file, length, claim)
    }

    fn reserve(file: &OwnedFd, bytes: usize) -> Result<(usize, Claim), MemoryError> {
        let length = round_to_pages(bytes)?;
        Ok((length, reserve(file.as_fd(), length)?))
    }

    /// Maps `length` bytes of a file that another process made. The `reserved` bytes of it count as this process's from
    /// now on.
    ///
    /// # Errors
    /// [`MemoryError::NoSpace`] if the configured limit leaves fewer bytes; [`MemoryError::System`].
    pub(crate) fn of_others(file: OwnedFd, length: usize, reserved: u64) -> Result<Arc<Self>, MemoryError> {
        let claim = Claim::of(reserved)?;
        Self::of_file(file, length, claim)
    }

    /// Maps `length` bytes of a file, of which the claimed bytes are reserved.
    ///
    /// # Errors
    /// [`MemoryError::System`].
    fn of_file(file: OwnedFd, length: usize, claim: Claim) -> Result<Arc<Self>, MemoryError> {
        let raw = map(&file, length).map_err(|error| {
            // mmap fails if there is no address space left, or too many mappings (vm.max_map_count).
            MemoryError::System(error.into())
        })?;
        if length >= DONT_DUMP_FROM_BYTES {
            // This is advice only: without it, a core dump may become large.
            if let Err(error) = raw.advise(memmap2::Advice::DontDump) {
                tell(Note::Refused(in_core_dumps, error.into()));
            }
        }
        Ok(Arc::new(Self {
            raw: Some(raw),
            counted: AtomicU64::new(claim.into_bytes()),
            file: Arc::new(file),
            directory: None,
            suspected: AtomicBool::new(false),
            name: OnceLock::new(),
        }))
    }

    /// Makes a mapping of `length` bytes, of which the first `reserved` have memory; the others only have addresses.
    ///
    /// # Errors
    /// [`MemoryError::NoSpace`] before anything is written, if that much memory is not available;
    /// [`MemoryError::FileSizeLimit`] if a file may not be that long.
    pub(crate) fn sparse(length: u64, reserved: u64) -> Result<Arc<Self>, MemoryError> {
        let refused = MemoryError::NoSpace { wanted: length, available: length_u64(MAPPING_BYTES_MAX) };
        if length > length_u64(MAPPING_BYTES_MAX) {
            return Err(refused);
        }
        may_be_as_long(length)?;
        let file = make_memfd()?;
        again(|| ftruncate(&file, length))?;
        // As in `new`.
        if let Err(error) = fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW) {
            tell(Note::Refused(not_sealed, error.into()));
        }
        let claim = reserve_piece(file.as_fd(), 0, reserved)?;
        Self::of_file(file, usize::try_from(length).map_err(|_| refused)?, claim)
    }

    /// Maps a sparse file of at least `at_least` bytes that another process made. Its reserved bytes count once their
    /// number is known.
    ///
    /// # Errors
    /// [`MemoryError::System`] with `EINVAL` if the file is too short, or not sealed against shrinking.
    pub(crate) fn attach(file: OwnedFd, at_least: u64) -> Result<Arc<Self>, MemoryError> {
        // Only files in memory have seals: for others, the call returns EINVAL.
        let seals = fcntl_get_seals(&file)?;
        let length = u64::try_from(fstat(&file)?.st_size).unwrap_or(0);
        if !seals.contains(SealFlags::SHRINK) || length < at_least || length > length_u64(MAPPING_BYTES_MAX) {
            return Err(Errno::INVAL.into());
        }
        Self::of_file(file, usize::try_from(length).map_err(|_| Errno::INVAL)?, Claim::default())
    }

    /// Reserves whole pages of a sparse mapping whose memory was requested when the mapping was made.
    ///
    /// # Errors
    /// [`MemoryError::NoSpace`]; the budget then counts nothing more.
    pub(crate) fn extend(&self, at: usize, bytes: usize) -> Result<(), MemoryError> {
        let wanted = length_u64(bytes);
        let claim = Claim::of(wanted)?;
        reserve::allocate(self, length_u64(at), wanted)?;
        self.counted.fetch_add(claim.into_bytes(), Ordering::Relaxed);
        Ok(())
    }

    /// Returns the memory of whole pages of a sparse mapping to the system; returns `false` if the memory stays.
    pub(crate) fn shrink(&self, at: usize, bytes: usize) -> bool {
        let bytes = length_u64(bytes);
        let is_given_back = give_back(self, length_u64(at), bytes).is_ok();
        if is_given_back {
            self.counted.fetch_sub(bytes, Ordering::Relaxed);
            budget::give_up(bytes);
        }
        is_given_back
    }

    /// Makes the budget count `bytes` bytes for this mapping, whatever the limit: they are already reserved.
    pub(crate) fn count(&self, bytes: u64) {
        let before = self.counted.swap(bytes, Ordering::Relaxed);
        budget::count_anyway(before, bytes);
    }

    /// Counts as [`count`](Self::count) does, for a mapping that another process made and reserved, and that this
    /// process does not use yet.
    ///
    /// # Errors
    /// [`MemoryError::NoSpace`] if the configured limit leaves fewer bytes.
    pub(crate) fn claim(&self, bytes: u64) -> Result<(), MemoryError> {
        let claim = Claim::of(bytes.saturating_sub(self.counted.load(Ordering::Relaxed)))?;
        self.counted.fetch_add(claim.into_bytes(), Ordering::Relaxed);
        Ok(())
    }

    /// The file, for a message that carries it.
    pub(crate) fn file(&self) -> &Arc<OwnedFd> {
        &self.file
    }

    /// Makes the last holder's drop remove the file's name.
    pub(crate) fn set_name(&self, name: FileName) {
        // A second handle of the same object has the same name.
        if let Err(mut second) = self.name.set(name) {
            second.forget();
        }
    }

    /// Makes the drop ask [`suspects`] before it unmaps the memory.
    pub(crate) fn suspect(&self) {
        self.suspected.store(true, Ordering::Relaxed);
    }

    /// Bytes of the mapping, in whole pages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.raw.as_ref().map_or(0, MmapRaw::len)
    }

    /// Always `false`: a mapping has at least one page.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies `from` into the mapping, as far as it fits.
    pub(crate) fn write_at(&self, at: usize, from: &[u8]) {
        if at.checked_add(from.len()).is_some_and(|end| end <= self.len()) {
            // SAFETY: the range lies in the mapping; single bytes have no alignment; `from` is private.
            unsafe { copy::store(self.base().wrapping_add(at), from.as_ptr(), from.len(), 1) };
        }
    }

    /// Fills `into` from the mapping, as far as there are bytes.
    pub(crate) fn read_at(&self, at: usize, into: &mut [u8]) {
        if at.checked_add(into.len()).is_some_and(|end| end <= self.len()) {
            // SAFETY: the range lies in the mapping; single bytes have no alignment; `into` is exclusively borrowed.
            unsafe { copy::load(into.as_mut_ptr(), self.base().wrapping_add(at), into.len(), 1) };
        }
    }

    pub(crate) fn base(&self) -> *mut u8 {
        self.raw.as_ref().map_or(ptr::null_mut(), MmapRaw::as_mut_ptr)
    }

    /// Moves the mapping into an owner that is never dropped. This process finds the mapping again by its file.
    #[cold]
    #[expect(clippy::mem_forget, reason = "the leak is the purpose: a lock in the mapping is still held")]
    fn keep(&mut self) {
        tell(Note::Event(stays_mapped));
        let kept = Arc::new(Self {
            raw: self.raw.take(),
            counted: AtomicU64::new(*self.counted.get_mut()),
            file: Arc::clone(&self.file),
            directory: self.directory.take(),
            suspected: AtomicBool::new(false),
            name: std::mem::take(&mut self.name),
        });
        let found_again = match (&kept.directory, kept.name.get()) {
            (Some(_), _) => chunks::find_again(&kept),
            (None, Some(_)) => named::find_again(&kept),
            (None, None) => Ok(()),
        };
        if let Err(error) = found_again {
            tracing::debug!(%error, "memory stays mapped, but cannot be found again by its file");
        }
        std::mem::forget(kept);
    }
}

impl AsFd for Mapping {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn stays_mapped() {
    tracing::warn!("a forgotten guard still holds a lock: its memory stays mapped");
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // No live guard is left, because a guard borrows a handle, which has an `Arc`. Only forgotten guards remain.
        if *self.suspected.get_mut() && suspects::take(self).iter().any(|lock| lock.is_held_in(self)) {
            self.keep();
            return;
        }
        budget::give_up(*self.counted.get_mut());
    }
}

pub(crate) fn not_sealed(error: OsError) {
    tracing::debug!(%error, "shared memory is not sealed against resizing");
}

fn in_core_dumps(error: OsError) {
    tracing::debug!(%error, "large shared memory stays in core dumps");
}

#[cfg(not(miri))]
fn map(file: &OwnedFd, length: usize) -> std::io::Result<MmapRaw> {
    memmap2::MmapOptions::new().len(length).map_raw(file)
}

pub(crate) fn length_u64(length: usize) -> u64 {
    // `usize` has at most 64 bits on every Linux.
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn round_to_pages(bytes: usize) -> Result<usize, MemoryError> {
    let refused =
        MemoryError::NoSpace { wanted: length_u64(bytes), available: length_u64(MAPPING_BYTES_MAX) };
    if bytes > MAPPING_BYTES_MAX {
        return Err(refused);
    }
    bytes.max(1).checked_next_multiple_of(rustix::param::page_size()).ok_or(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_beyond_the_limit_are_refused_before_anything_happens() {
        let refused = |bytes| matches!(Mapping::new(bytes), Err(MemoryError::NoSpace { .. }));
        assert!(refused(MAPPING_BYTES_MAX + 1));
        assert!(refused(usize::MAX));
        assert!(round_to_pages(MAPPING_BYTES_MAX).is_ok());
    }

    #[test]
    fn a_mapping_cannot_be_resized() {
        let mapping = Mapping::new(4096).unwrap();
        assert_eq!(ftruncate(&mapping, 0), Err(Errno::PERM));
        assert_eq!(ftruncate(&mapping, 1 << 20), Err(Errno::PERM));
    }
}

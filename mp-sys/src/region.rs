//! Regions: memory that grows inside one mapping that never moves.
//!
//! A region is a sparse file in memory, mapped whole when it is made: there is plenty of address space, and offsets
//! mean the same in every process. Its memory is reserved piece by piece, and returned in the same way. It begins with
//! [`LOCKS`] locks, which only [`Locked`] reaches. Everything from [`DATA_START`] on is read and written by offset.
//! Every offset is checked, because it may come from a peer. The crate above defines the meaning of the bytes.
//!
//! | offset | what |
//! |---|---|
//! | 0 | the locks, [`LOCK_BYTES`] each |
//! | [`DATA_START`] | data |
//!
//! # Invariants
//! 1. Only the locks' own handles touch the bytes before `DATA_START`: lock words are trusted memory.
//! 2. A process maps a region once, so that each lock has one address in it.
//! 3. The file never changes its size. A piece that is not reserved reads as zeros; reading it may take memory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, compiler_fence};

use crate::budget::Claim;
use crate::locked::{CONTROL_BYTES, Locked};
use crate::memory::{self, Mapping, MemoryError};
use crate::span::Span;
use crate::{copy, fork};

/// Locks at the start of a region.
pub const LOCKS: usize = 2;
/// Bytes of each lock with its data: two cache lines, because processors fetch lines in pairs.
pub const LOCK_BYTES: usize = 128;
/// Where data begins.
pub const DATA_START: u64 = 256;
/// Bytes of data that each lock protects.
pub const LOCK_DATA_BYTES: usize = LOCK_BYTES - CONTROL_BYTES;

const _: () = assert!(LOCKS * LOCK_BYTES == 256);

/// A sparse mapping, read and written by offset.
#[derive(Debug)]
pub struct Region {
    mapping: Arc<Mapping>,
    start: NonNull<u8>,
    len: u64,
}

// SAFETY: every access is atomic or an untorn copy, and the mapping lives as long as the region.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Makes a region of `len` bytes, of which the first `reserved` have memory, and its locks, which are free.
    ///
    /// # Errors
    /// [`MemoryError`], also if there is no address space for `len` bytes.
    pub fn new(len: u64, reserved: u64) -> Result<(Self, [Locked; LOCKS]), MemoryError> {
        fork::install_handlers();
        let region = Self::over(Mapping::sparse(len, reserved)?);
        let locks = region.locks(|span| Locked::new(span, |_| {}));
        Ok((region, locks))
    }

    /// Maps a region that another process made. Its lock words are trusted; everything else is not.
    ///
    /// # Errors
    /// [`MemoryError::System`] with `EINVAL` if `file` is not a region: too short, or not sealed against shrinking.
    pub fn attach(file: OwnedFd) -> Result<(Self, [Locked; LOCKS]), MemoryError> {
        fork::install_handlers();
        let region = Self::over(Mapping::attach(file, DATA_START)?);
        let locks = region.locks(Locked::over);
        Ok((region, locks))
    }

    fn over(mapping: Arc<Mapping>) -> Self {
        let start = NonNull::new(mapping.base()).expect("mapped memory does not start at address 0");
        let len = u64::try_from(mapping.len()).unwrap_or(u64::MAX);
        Self { mapping, start, len }
    }

    fn locks(&self, make: impl Fn(Span) -> Result<Locked, Span>) -> [Locked; LOCKS] {
        std::array::from_fn(|index| {
            let span = Span::piece(&self.mapping, index.wrapping_mul(LOCK_BYTES), LOCK_BYTES);
            make(span).expect("a lock fits into LOCK_BYTES")
        })
    }

    /// The file, for a message that carries it.
    #[must_use]
    pub fn file(&self) -> &Arc<OwnedFd> {
        self.mapping.file()
    }

    /// Bytes of the region, most of them without memory.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Always `false`: a region contains its locks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reserves the memory of a piece: from then on, stores into it cannot fail. The claim counts it until
    /// [`count_reserved`](Self::count_reserved) does.
    ///
    /// # Errors
    /// [`MemoryError::NoSpace`]; some of the piece may then have memory, which the next attempt uses.
    pub fn reserve(&self, at: u64, bytes: u64) -> Result<Claim, MemoryError> {
        if !self.covers(at, bytes) {
            return Err(MemoryError::NoSpace { wanted: bytes, available: self.len.saturating_sub(at) });
        }
        memory::reserve_piece(self.mapping.as_fd(), at, bytes)
    }

    /// Returns the memory of a piece to the system: whole pages inside it read as zeros from then on.
    ///
    /// # Errors
    /// [`MemoryError::System`].
    pub fn give_back(&self, at: u64, bytes: u64) -> Result<(), MemoryError> {
        if !self.covers(at, bytes) || bytes == 0 {
            return Ok(());
        }
        memory::give_back(&self.mapping, at, bytes)
    }

    /// Makes the budget count this many bytes of the region as reserved.
    pub fn count_reserved(&self, bytes: u64) {
        self.mapping.count(bytes);
    }

    /// Counts as [`count_reserved`](Self::count_reserved) does, for a region that arrived and that this process does
    /// not use yet.
    ///
    /// # Errors
    /// [`MemoryError::NoSpace`] if the configured limit leaves fewer bytes.
    pub fn claim_reserved(&self, bytes: u64) -> Result<(), MemoryError> {
        self.mapping.claim(bytes)
    }

    #[inline]
    fn covers(&self, at: u64, bytes: u64) -> bool {
        at >= DATA_START && at.checked_add(bytes).is_some_and(|end| end <= self.len)
    }

    /// The address of `bytes` bytes from `at` on, if they are data.
    #[inline]
    fn place(&self, at: u64, bytes: usize) -> Option<NonNull<u8>> {
        let bytes = u64::try_from(bytes).ok()?;
        if !self.covers(at, bytes) {
            return None;
        }
        // It fits: `at` is less than the length of a mapping.
        let at = usize::try_from(at).ok()?;
        // SAFETY: the check above found that `at` lies in the mapping.
        Some(unsafe { self.start.add(at) })
    }

    /// The word at `at`, or `None` if `at` is not a multiple of 8 in the data.
    #[inline]
    #[must_use]
    pub fn word(&self, at: u64) -> Option<&AtomicU64> {
        let place = self.place(at, size_of::<u64>())?;
        if !at.is_multiple_of(8) {
            return None;
        }
        // SAFETY: in the mapping, which `self` keeps, aligned, and accessed only by atomics and untorn copies.
        Some(unsafe { AtomicU64::from_ptr(place.cast().as_ptr()) })
    }

    /// The half word at `at`, or `None` if `at` is not a multiple of 4 in the data.
    #[inline]
    #[must_use]
    pub fn half_word(&self, at: u64) -> Option<&AtomicU32> {
        let place = self.place(at, size_of::<u32>())?;
        if !at.is_multiple_of(4) {
            return None;
        }
        // SAFETY: in the mapping, which `self` keeps, aligned, and accessed only by atomics and untorn copies.
        Some(unsafe { AtomicU32::from_ptr(place.cast().as_ptr()) })
    }

    /// Stores a word, after all earlier stores and before all later ones: a kill falls before or after it.
    ///
    /// Returns `false` and stores nothing if `at` is not a multiple of 8 in the data.
    #[inline]
    #[must_use]
    pub fn commit(&self, at: u64, value: u64) -> bool {
        let Some(word) = self.word(at) else {
            return false;
        };
        word.store(value, Ordering::Release);
        compiler_fence(Ordering::SeqCst);
        true
    }

    /// Stores as [`commit`](Self::commit) does, and orders the store before all later loads as well: if two processes
    /// each commit and then look at what the other committed, at least one of them sees it.
    #[inline]
    #[must_use]
    pub fn commit_before_looking(&self, at: u64, value: u64) -> bool {
        let Some(word) = self.word(at) else {
            return false;
        };
        word.swap(value, Ordering::SeqCst);
        true
    }

    /// Copies `from` into the region; returns `false` and copies nothing if it does not fit there.
    #[inline]
    #[must_use]
    pub fn write(&self, at: u64, from: &[u8]) -> bool {
        let Some(place) = self.place(at, from.len()) else {
            return false;
        };
        // SAFETY: the range lies in the mapping; single bytes have no alignment; `from` is borrowed.
        unsafe { copy::store(place.as_ptr(), from.as_ptr(), from.len(), 1) };
        true
    }

    /// Fills `into` from the region; returns `false` and copies nothing if there are not enough bytes.
    #[inline]
    #[must_use]
    pub fn read(&self, at: u64, into: &mut [u8]) -> bool {
        let Some(place) = self.place(at, into.len()) else {
            return false;
        };
        // SAFETY: the range lies in the mapping; single bytes have no alignment; `into` is exclusively borrowed.
        unsafe { copy::load(into.as_mut_ptr(), place.as_ptr(), into.len(), 1) };
        true
    }

    /// Appends `bytes` bytes of the region to `into`, without zeroing them first; returns `false` if there are not
    /// enough, or no memory for them.
    #[must_use]
    pub fn append_to(&self, at: u64, bytes: usize, into: &mut Vec<u8>) -> bool {
        let Some(place) = self.place(at, bytes) else {
            return false;
        };
        if into.try_reserve(bytes).is_err() {
            return false;
        }
        let spare = into.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: the range lies in the mapping; `try_reserve` made room for this many bytes behind the vector's last.
        unsafe { copy::load(spare, place.as_ptr(), bytes, 1) };
        let length = into.len().saturating_add(bytes);
        // SAFETY: there is room, and all bytes up to `length` are initialised.
        unsafe { into.set_len(length) };
        true
    }
}

impl AsFd for Region {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.mapping.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u64 = 1 << 30;

    fn region() -> Region {
        Region::new(LEN, 4096).unwrap().0
    }

    #[test]
    fn offsets_outside_the_data_are_refused() {
        let region = region();
        for at in [0, DATA_START - 8, LEN - 7, LEN, u64::MAX, u64::MAX - 7] {
            assert!(region.word(at).is_none(), "{at}");
            assert!(!region.commit(at, 1));
            assert!(!region.write(at, &[1; 8]));
            assert!(!region.read(at, &mut [1; 8]));
            assert!(!region.append_to(at, 8, &mut Vec::new()));
        }
        assert!(region.word(DATA_START + 4).is_none());
        assert!(region.half_word(DATA_START + 2).is_none());
        assert!(region.word(LEN - 8).is_some());
        assert!(region.half_word(LEN - 4).is_some());
        assert!(region.reserve(0, 8).is_err());
        assert!(region.reserve(LEN, 1).is_err());
    }

    #[test]
    fn bytes_come_back_as_they_were_written() {
        let region = region();
        let _claim = region.reserve(LEN - 4096, 4096).unwrap();
        let bytes: Vec<u8> = (0..=255).collect();
        assert!(region.write(LEN - 256, &bytes));
        let mut read = [0; 256];
        assert!(region.read(LEN - 256, &mut read));
        assert_eq!(read[..], bytes);
        let mut appended = vec![7];
        assert!(region.append_to(LEN - 256, 256, &mut appended));
        assert_eq!(appended[1..], bytes);
        region.give_back(LEN - 4096, 4096).unwrap();
        assert!(region.read(LEN - 256, &mut read));
        assert_eq!(read, [0; 256]);
    }

    #[test]
    fn another_mapping_of_the_file_has_the_same_bytes() {
        let region = region();
        assert!(region.commit(DATA_START, 42));
        let file = region.as_fd().try_clone_to_owned().unwrap();
        let (other, _locks) = Region::attach(file).unwrap();
        assert_eq!(other.len(), LEN);
        assert_eq!(other.word(DATA_START).unwrap().load(Ordering::Relaxed), 42);
    }

    #[test]
    fn a_file_that_is_not_a_region_is_refused() {
        let unsealed = memory::make_memfd().unwrap();
        rustix::fs::ftruncate(&unsealed, 1 << 20).unwrap();
        assert!(matches!(Region::attach(unsealed), Err(MemoryError::System(_))));
        let (read, _write) = rustix::pipe::pipe().unwrap();
        assert!(matches!(Region::attach(read), Err(MemoryError::System(_))));
    }
}

//! Shared memory: memfd chunks that are reserved before they are used, and the spans cut from them.
//!
//! A [`Mapping`] is an anonymous file that lives in memory and is mapped once. Its pages are reserved at birth (a store
//! into it can never end in SIGBUS), it can never shrink, it is closed on exec, and it goes when the last process unmaps
//! it. A [`Chunk`] hands out [`Span`]s of a mapping, each byte at most once: so whoever owns a span knows that nothing
//! else in this process uses those bytes, which is what lets the modules above hand out references.
//!
//! In a forked child the same bytes belong to the same objects; that is the sharing. A child never cuts spans from a chunk
//! that it inherited: see `shm-core`'s arena.
//!
//! Source: memfd_create(2), fallocate(2), fcntl(2) F_ADD_SEALS.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

use crate::{OsError, budget, copy, fork};

/// The most bytes that one mapping may have: 16 TiB, far above any machine, far below where offsets overflow.
pub const MAPPING_BYTES_MAX: usize = 1 << 44;
/// Bytes reserved in one step; before each, the budget is asked again.
pub const RESERVE_STEP_BYTES: usize = 64 << 20;
/// Every span starts at a multiple of this: a cache line, so that two objects never share one.
pub const SPAN_ALIGN: usize = 64;
/// Mappings from this size on are left out of core dumps.
const DONT_DUMP_FROM_BYTES: usize = 16 << 20;

/// Why there is no memory. Nothing was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// Less memory is available than was asked for, counting the machine, the control group, the file-size limit and
    /// `MP_SHM_MAX`. Nothing was written.
    #[error("no space for {wanted} bytes of shared memory: {available} bytes are available")]
    NoSpace {
        /// Bytes asked for.
        wanted: u64,
        /// Bytes that could have been had.
        available: u64,
    },
    /// The process or the machine has no free descriptor.
    #[error("no free file descriptor for shared memory")]
    OutOfDescriptors,
    /// The kernel refused for another reason.
    #[error("the kernel refuses shared memory: {0}")]
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

/// An anonymous file in memory, mapped for reading and writing.
#[derive(Debug)]
pub struct Mapping {
    raw: MmapRaw,
    file: OwnedFd,
}

// MmapRaw is Send and Sync: it is an address and a length.

impl Mapping {
    /// Makes a mapping of at least `bytes` zeroed bytes, rounded up to whole pages and reserved.
    ///
    /// # Errors
    /// [`MemoryError::NoSpace`] before anything is written, if that much memory is not available.
    pub fn new(bytes: usize) -> Result<Arc<Self>, MemoryError> {
        let length = round_to_pages(bytes)?;
        let file = make_memfd()?;
        reserve(file.as_fd(), length)?;
        // EPERM would mean a kernel without sealing: the file is private to those who are handed it, so go on.
        if let Err(error) = fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW) {
            tracing::debug!(%error, "shared memory is not sealed against resizing");
        }
        let raw = MmapOptions::new().len(length).map_raw(&file).map_err(|error| {
            // mmap fails for want of address space or of mappings (vm.max_map_count).
            MemoryError::System(error.into())
        })?;
        if length >= DONT_DUMP_FROM_BYTES {
            // Advice only: a dump may become large without it.
            if let Err(error) = raw.advise(memmap2::Advice::DontDump) {
                tracing::debug!(%error, "large shared memory stays in core dumps");
            }
        }
        budget::count_mapped(length_u64(length));
        Ok(Arc::new(Self { raw, file }))
    }

    /// Bytes of the mapping: whole pages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Never: a mapping has at least one page.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn base(&self) -> *mut u8 {
        self.raw.as_mut_ptr()
    }
}

impl AsFd for Mapping {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        budget::count_unmapped(length_u64(self.len()));
    }
}

fn length_u64(length: usize) -> u64 {
    // usize has at most 64 bits on every Linux.
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

/// Reserves `length` bytes step by step. A file that could not be reserved whole is dropped by the caller, which gives
/// everything back.
fn reserve(file: BorrowedFd<'_>, length: usize) -> Result<(), MemoryError> {
    let wanted = length_u64(length);
    let available = budget::available(0);
    if wanted > available {
        return Err(MemoryError::NoSpace { wanted, available });
    }
    let mut reserved = 0;
    while reserved < length {
        let step = length.saturating_sub(reserved).min(RESERVE_STEP_BYTES);
        if reserved > 0 {
            let available = budget::available(length_u64(reserved));
            if length_u64(step) > available {
                return Err(MemoryError::NoSpace { wanted, available });
            }
        }
        match fallocate(file, FallocateFlags::empty(), length_u64(reserved), length_u64(step)) {
            Ok(()) => reserved = reserved.saturating_add(step),
            Err(Errno::INTR) => {}
            Err(Errno::NOSPC | Errno::NOMEM | Errno::FBIG) => {
                return Err(MemoryError::NoSpace { wanted, available: length_u64(reserved) });
            }
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}

/// A mapping that spans are cut from, front to back.
#[derive(Debug)]
pub struct Chunk {
    mapping: Arc<Mapping>,
    used: usize,
}

impl Chunk {
    /// Makes a chunk with room for at least `bytes` bytes.
    ///
    /// # Errors
    /// As [`Mapping::new`].
    pub fn new(bytes: usize) -> Result<Self, MemoryError> {
        fork::install_handlers();
        Ok(Self { mapping: Mapping::new(bytes)?, used: 0 })
    }

    /// Cuts a span of `bytes` zeroed bytes at a multiple of [`SPAN_ALIGN`]; `None` if the chunk has no room left.
    pub fn cut(&mut self, bytes: usize) -> Option<Span> {
        let start = self.used.checked_next_multiple_of(SPAN_ALIGN)?;
        let end = start.checked_add(bytes)?;
        if end > self.mapping.len() {
            return None;
        }
        // SAFETY: start <= end <= the mapping's length, so the address lies in the mapping or one past its end.
        let place = unsafe { self.mapping.base().add(start) };
        self.used = end;
        Some(Span {
            start: NonNull::new(place)?,
            length: bytes,
            mapping: ManuallyDrop::new(Arc::clone(&self.mapping)),
            forks: fork::forks(),
            home: None,
        })
    }

    /// Names the mapping, as [`Span::mapping_key`] does.
    #[must_use]
    pub fn mapping_key(&self) -> usize {
        self.mapping.base().addr()
    }
}

/// Bytes of a mapping that nothing else in this process uses, and that stay mapped while the span lives.
///
/// When it is dropped, it goes back to the [`home`](Span::send_home_on_drop) that handed it out, unless a forked process
/// may know what lies in it.
#[derive(Debug)]
pub struct Span {
    start: NonNull<u8>,
    length: usize,
    /// Taken out in `drop` only.
    mapping: ManuallyDrop<Arc<Mapping>>,
    /// How many forks there had been when the span was handed out.
    forks: u64,
    home: Option<fn(Self)>,
}

// SAFETY: a span is an address range and shared ownership of its mapping, both usable from any thread.
unsafe impl Send for Span {}
// SAFETY: a shared span gives out its address and length only.
unsafe impl Sync for Span {}

impl Span {
    /// Bytes in the span.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether the span has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Names the mapping that the span lies in, while the span lives.
    #[must_use]
    pub fn mapping_key(&self) -> usize {
        self.mapping.base().addr()
    }

    /// Spans and chunks that keep the mapping, this one included.
    #[must_use]
    pub fn mapping_users(&self) -> usize {
        Arc::strong_count(&self.mapping)
    }

    /// Hands the span out: from now on, dropping it gives it to `home`, if no process was forked in between.
    #[must_use]
    pub fn send_home_on_drop(mut self, home: fn(Self)) -> Self {
        self.forks = fork::forks();
        self.home = Some(home);
        self
    }

    /// Whether a process forked since the span was handed out may know what lies in it.
    fn is_exported(&self) -> bool {
        self.forks != fork::forks()
    }

    /// Zeroes the bytes of a span that came home.
    pub fn zero(&mut self) {
        // SAFETY: the span's bytes are mapped from a multiple of 64 on, and the span is borrowed exclusively.
        unsafe { copy::zero(self.start.as_ptr(), self.length) };
    }

    /// The address of the span's first byte, a multiple of [`SPAN_ALIGN`].
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Keeps the span and its mapping for the rest of this process's life.
    #[expect(clippy::mem_forget, reason = "the leak is the purpose: a lock in the mapping is still held")]
    pub(crate) fn leak(&mut self) {
        self.home = None;
        std::mem::forget(Arc::clone(&self.mapping));
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        // SAFETY: this is the only place that takes the mapping out, and nothing uses it afterwards.
        let mapping = unsafe { ManuallyDrop::take(&mut self.mapping) };
        if let Some(home) = self.home
            && !self.is_exported()
        {
            home(Self {
                start: self.start,
                length: self.length,
                mapping: ManuallyDrop::new(mapping),
                forks: self.forks,
                home: None,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn spans_do_not_overlap_and_end_with_the_chunk() {
        let mut chunk = Chunk::new(1).unwrap();
        let page = chunk.mapping.len();
        let spans: Vec<Span> = std::iter::from_fn(|| chunk.cut(65)).collect();
        assert_eq!(spans.len(), page / 128, "65 bytes take two lines");
        for pair in spans.windows(2) {
            assert_eq!(pair[1].start.addr().get() - pair[0].start.addr().get(), 128);
        }
        assert!(chunk.cut(usize::MAX).is_none());
    }

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
        assert_eq!(rustix::fs::ftruncate(&mapping, 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&mapping, 1 << 20), Err(Errno::PERM));
    }

    #[test]
    fn a_span_goes_home_once_and_can_be_zeroed() {
        static HOME: Mutex<Vec<Span>> = Mutex::new(Vec::new());
        let span = Chunk::new(4096).unwrap().cut(100).unwrap();
        // SAFETY: the span has 100 bytes and is not shared yet.
        unsafe { span.start.as_ptr().write_bytes(0xff, 100) };
        drop(span.send_home_on_drop(|span| HOME.lock().unwrap().push(span)));
        let mut span = HOME.lock().unwrap().pop().unwrap();
        assert_eq!(span.mapping_users(), 1);
        span.zero();
        // SAFETY: as above.
        let bytes = unsafe { std::slice::from_raw_parts(span.start.as_ptr(), 100) };
        assert!(bytes.iter().all(|&byte| byte == 0));
        drop(span);
        assert!(HOME.lock().unwrap().is_empty());
    }
}

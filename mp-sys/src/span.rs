//! Spans: pieces of a mapping, each of which is handed out once.
//!
//! A [`Chunk`] hands out [`Span`]s of a mapping, each byte at most once. So the owner of a span knows that nothing else
//! in this process uses those bytes. That is why the modules above can hand out references.
//!
//! An object in a chunk can be sent to another process, or to this one. Then several spans cover the same bytes, and
//! the chunk's directory ensures that all of them are used as the same kind of object. A span that was sent is never
//! handed out again. Several handles of one object in this process share bytes in the same way: their spans are twins.
//!
//! In a forked child the same bytes belong to the same objects, which is what sharing means. A child never cuts spans
//! from a chunk that it inherited: see `shm-core`'s arena.

pub(crate) mod chunks;
pub(crate) mod directory;
mod pages;
mod twins;

use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use self::pages::whole_pages;
use crate::fork;
use crate::memory::{Mapping, MemoryError};
use crate::span::directory::{Directory, MARK_BYTES, Mark};
use crate::span::twins::Twins;

/// The alignment of every span: a cache line, so that two objects never share one.
pub const SPAN_ALIGN: usize = 64;

/// The most bytes of a chunk that takes memory on demand.
pub const SPARSE_BYTES_MAX: usize = 2 << 20;

/// A mapping from which spans are cut, front to back.
#[derive(Debug)]
pub struct Chunk {
    mapping: Arc<Mapping>,
    used: usize,
}

impl Chunk {
    /// Makes a chunk with room for at least `bytes` bytes of spans.
    ///
    /// # Errors
    /// Fails as [`Mapping::new`] does.
    pub fn new(bytes: usize) -> Result<Self, MemoryError> {
        Self::with(Directory::for_places(bytes.div_ceil(SPAN_ALIGN).max(1)), bytes)
    }

    /// Makes a chunk of at most [`SPARSE_BYTES_MAX`] bytes in total, and returns it as one span. A fifth of it is the
    /// directory. It has no memory yet: see [`Span::reserve`].
    ///
    /// # Errors
    /// [`MemoryError::NoSpace`] if there is no memory for all of it.
    pub fn sparse(bytes: usize) -> Result<Span, MemoryError> {
        fork::install_handlers();
        let bytes = bytes.min(SPARSE_BYTES_MAX);
        // A place of 64 bytes has two words of 8 bytes; both begin at a page.
        let rounding = rustix::param::page_size().saturating_mul(2);
        let places = bytes.saturating_sub(rounding) / const { SPAN_ALIGN + MARK_BYTES };
        let directory = Directory::for_places(places);
        let first = directory.first();
        let mapping = chunks::make_sparse(directory, bytes)?;
        let end = first.saturating_add(places.saturating_mul(SPAN_ALIGN)).min(mapping.len());
        Ok(Span::piece(&mapping, first, pages::page_of(end).saturating_sub(first)))
    }

    /// Makes a chunk with room for one span of `bytes` bytes, which starts at a page.
    ///
    /// # Errors
    /// Fails as [`Mapping::new`] does.
    pub fn for_one(bytes: usize) -> Result<Self, MemoryError> {
        Self::with(Directory::for_one_place(), bytes)
    }

    fn with(directory: Directory, bytes: usize) -> Result<Self, MemoryError> {
        fork::install_handlers();
        let used = directory.first();
        let mapping = chunks::make(directory, used.saturating_add(bytes))?;
        Ok(Self { mapping, used })
    }

    /// Cuts a span of `bytes` zeroed bytes at a multiple of [`SPAN_ALIGN`]; returns `None` if the chunk has no room
    /// left.
    pub fn cut(&mut self, bytes: usize) -> Option<Span> {
        let start = self.used.checked_next_multiple_of(SPAN_ALIGN)?;
        let end = start.checked_add(bytes)?;
        if end > self.mapping.len() {
            return None;
        }
        // A span without a place in the directory could never be sent.
        self.mapping.directory.as_ref()?.place_of(start)?;
        // SAFETY: start <= end <= the mapping's length, so the address lies in the mapping or one past its end.
        let place = unsafe { self.mapping.base().add(start) };
        self.used = end;
        Some(Span {
            start: NonNull::new(place)?,
            length: bytes,
            mapping: ManuallyDrop::new(Arc::clone(&self.mapping)),
            forks: fork::forks(),
            home: None,
            sent: AtomicBool::new(false),
            twins: Twins::none(),
        })
    }

    /// The key of the mapping, as in [`Span::mapping_key`].
    #[must_use]
    pub fn mapping_key(&self) -> usize {
        self.mapping.base().addr()
    }
}

/// Bytes of a mapping that nothing else in this process uses, and that stay mapped while the span lives.
///
/// When the span is dropped, it returns to the [`home`](Span::send_home_on_drop) that handed it out, unless a forked
/// process may know what it contains.
#[derive(Debug)]
pub struct Span {
    start: NonNull<u8>,
    length: usize,
    /// Taken out only in `drop`.
    mapping: ManuallyDrop<Arc<Mapping>>,
    /// The number of forks before the span was handed out.
    forks: u64,
    home: Option<fn(Self)>,
    /// Whether the object was put into a message: another process may know it, or this one through another span.
    sent: AtomicBool,
    /// The spans of other handles of the object, in this process.
    twins: Twins,
}

// SAFETY: a span is an address range and shared ownership of its mapping, both usable from any thread.
unsafe impl Send for Span {}
// SAFETY: a shared span exposes only its address and length.
unsafe impl Sync for Span {}

impl Span {
    /// Returns the bytes of a mapping from `at` on, a multiple of [`SPAN_ALIGN`], as a span that another one may
    /// overlap. The caller ensures that both are used as the same kind of object.
    pub(crate) fn over(mapping: &Arc<Mapping>, at: usize) -> Self {
        Self::piece(mapping, at, mapping.len().saturating_sub(at))
    }

    /// Returns `length` bytes of a mapping from `at` on, a multiple of [`SPAN_ALIGN`], or as many as there are. The
    /// caller ensures that nothing else uses them.
    pub(crate) fn piece(mapping: &Arc<Mapping>, at: usize, length: usize) -> Self {
        let at = at.min(mapping.len());
        let start =
            NonNull::new(mapping.base().wrapping_add(at)).expect("mapped memory does not start at address 0");
        Self {
            start,
            length: length.min(mapping.len().saturating_sub(at)),
            mapping: ManuallyDrop::new(Arc::clone(mapping)),
            forks: fork::forks(),
            home: None,
            sent: AtomicBool::new(false),
            twins: Twins::none(),
        }
    }

    /// Returns the span of an object that arrived: the bytes from `at` on, if the directory has its mark there.
    pub(crate) fn arrived(mapping: Arc<Mapping>, at: usize, length: usize, mark: Mark) -> Option<Self> {
        let inside = at.checked_add(length).is_some_and(|end| end <= mapping.len());
        if !inside || !mapping.directory.as_ref()?.has(&mapping, at, mark) {
            return None;
        }
        Some(Self {
            start: NonNull::new(mapping.base().wrapping_add(at))?,
            length,
            mapping: ManuallyDrop::new(mapping),
            forks: fork::forks(),
            home: None,
            sent: AtomicBool::new(true),
            twins: Twins::none(),
        })
    }

    /// The file that the span lies in.
    pub(crate) fn file(&self) -> &Arc<OwnedFd> {
        self.mapping.file()
    }

    /// Marks the object in the directory of its chunk, so that it can arrive elsewhere; returns its place. Returns
    /// `None` if the span is not in a chunk, or if another kind of object was sent from here.
    pub(crate) fn send(&self, mark: Mark) -> Option<(&Arc<OwnedFd>, usize)> {
        let at = self.start.addr().get().checked_sub(self.mapping.base().addr())?;
        let directory = self.mapping.directory.as_ref()?;
        // Before the mark is stored: from then on, the bytes no longer belong to this span alone.
        self.sent.store(true, Ordering::Release);
        directory.put(&self.mapping, at, mark).then(|| (self.mapping.file(), at))
    }

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

    /// Identifies the mapping that the span lies in, while the span lives.
    #[must_use]
    pub fn mapping_key(&self) -> usize {
        self.mapping.base().addr()
    }

    /// The number of spans and chunks that keep the mapping, including this one.
    #[must_use]
    pub fn mapping_users(&self) -> usize {
        Arc::strong_count(&self.mapping)
    }

    /// The mapping that the span keeps.
    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Hands the span out: from now on, dropping it returns it to `home`, unless a process was forked in between.
    #[must_use]
    pub fn send_home_on_drop(mut self, home: fn(Self)) -> Self {
        self.forks = fork::forks();
        self.home = Some(home);
        self
    }

    /// Whether another process may know what the span contains: one that was forked since it was handed out, or that
    /// received it in a message.
    fn is_exported(&self) -> bool {
        self.forks != fork::forks() || self.sent.load(Ordering::Acquire)
    }

    /// Zeroes the bytes of a span that returned to its home.
    pub fn zero(&mut self) {
        // SAFETY: the bytes are mapped, and the span is borrowed exclusively. It holds no object: one that others may
        // know is never lent with its span. So nobody accesses the bytes meanwhile, and plain stores suffice.
        unsafe { self.start.as_ptr().write_bytes(0, self.length) };
    }

    /// The address of the span's first byte, a multiple of [`SPAN_ALIGN`].
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Prevents the bytes from being used for another object: a lock in them is held.
    pub(crate) fn never_go_home(&mut self) {
        self.home = None;
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        // SAFETY: this is the only place that takes the mapping out, and nothing uses it afterwards.
        let mapping = unsafe { ManuallyDrop::take(&mut self.mapping) };
        let may_go = self.home.is_some() && !self.is_exported();
        // Only the last of several spans of one object, and only if all of them may.
        if self.twins.leave(may_go)
            && let Some(home) = self.home
        {
            home(Self {
                start: self.start,
                length: self.length,
                mapping: ManuallyDrop::new(mapping),
                forks: self.forks,
                home: None,
                sent: AtomicBool::new(false),
                twins: Twins::none(),
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
        let mut chunk = Chunk::new(8192).unwrap();
        let spans: Vec<Span> = std::iter::from_fn(|| chunk.cut(65)).collect();
        assert_eq!(spans.len(), 8192 / 128, "65 bytes take two lines");
        for pair in spans.windows(2) {
            assert_eq!(pair[1].start.addr().get() - pair[0].start.addr().get(), 128);
        }
        assert!(chunk.cut(usize::MAX).is_none());
    }

    #[test]
    fn a_span_returns_to_its_home_once_and_can_be_zeroed() {
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

//! Cuts and joins the spans of a sparse chunk, and gives and takes their memory, in whole pages.
//!
//! For these spans, the words of their places are part of their size: see [`Block`](super::directory::Block). The words
//! of a block get their memory with the block's first span, and lose it when one span covers the whole block.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{SPAN_ALIGN, Span};
use crate::memory::MemoryError;

/// Where the whole pages of a range of a mapping begin and end.
#[must_use]
pub fn whole_pages(start: usize, end: usize) -> (usize, usize) {
    let start = start.checked_next_multiple_of(rustix::param::page_size()).unwrap_or(usize::MAX);
    (start, page_of(end).max(start))
}

/// The start of the page that contains this place.
pub(super) fn page_of(at: usize) -> usize {
    at.saturating_sub(at.checked_rem(rustix::param::page_size()).unwrap_or(0))
}

impl Span {
    /// Whether the span belongs to its owner alone: no object was sent from here, and dropping it runs no `home`.
    fn is_plain(&self) -> bool {
        self.home.is_none() && !self.sent.load(Ordering::Acquire) && !self.twins.are_there()
    }

    /// A part of the span, known to the same processes.
    fn part(&self, at: usize, bytes: usize) -> Self {
        let mut part = Self::piece(&self.mapping, at, bytes);
        part.forks = self.forks;
        part
    }

    /// Where the span begins in its mapping.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.start.addr().get().saturating_sub(self.mapping.base().addr())
    }

    /// Where the span ends in its mapping.
    #[must_use]
    pub fn end(&self) -> usize {
        self.offset().saturating_add(self.length)
    }

    /// How many bytes of the span are whole pages.
    #[must_use]
    pub fn page_bytes(&self) -> usize {
        let (start, end) = whole_pages(self.offset(), self.end());
        end.saturating_sub(start)
    }

    /// Cuts off the first `bytes` bytes; returns `None` if there are fewer, or if another process may know the span.
    /// The rest begins at a multiple of [`SPAN_ALIGN`].
    pub fn cut_front(&mut self, bytes: usize) -> Option<Self> {
        let bytes = bytes.checked_next_multiple_of(SPAN_ALIGN)?;
        let left = self.length.checked_sub(bytes).filter(|_| self.is_plain())?;
        let front = self.part(self.offset(), bytes);
        // The address lies inside the mapping, or one past its end.
        self.start = NonNull::new(self.start.as_ptr().wrapping_add(bytes))?;
        self.length = left;
        Some(front)
    }

    /// Cuts off what lies before the first whole page.
    pub fn cut_to_page(&mut self) -> Option<Self> {
        let (start, _) = whole_pages(self.offset(), self.end());
        self.cut_front(start.saturating_sub(self.offset()))
    }

    /// Cuts off at least `bytes` bytes, up to the end of a page; returns `None` if there are fewer.
    pub fn cut_pages(&mut self, bytes: usize) -> Option<Self> {
        let end = self.offset().checked_add(bytes)?.checked_next_multiple_of(rustix::param::page_size())?;
        if bytes > self.length {
            return None;
        }
        self.cut_front(end.min(self.end()).saturating_sub(self.offset()))
    }

    /// Appends the span that begins where this one ends, if no other process knows it either.
    ///
    /// # Errors
    /// Returns the other span if it cannot be appended.
    pub fn join(&mut self, next: Self) -> Result<(), Self> {
        let is_next = Arc::ptr_eq(&self.mapping, &next.mapping) && self.end() == next.offset();
        if !is_next || !self.is_plain() || !next.is_plain() {
            return Err(next);
        }
        self.forks = self.forks.min(next.forks);
        self.length = self.length.saturating_add(next.length);
        Ok(())
    }

    /// Reserves the memory of a span that has none: all its pages, which it shares with nothing else, and the words of
    /// its places. From then on stores cannot fail.
    ///
    /// # Errors
    /// [`MemoryError::NoSpace`]; the span then has no memory.
    pub fn reserve(&mut self) -> Result<(), MemoryError> {
        let page = rustix::param::page_size();
        let (start, end) = (self.offset(), self.end());
        let Some(directory) = &self.mapping.directory else { return Ok(()) };
        for block in directory.blocks(start, end) {
            if directory.words.load(Ordering::Relaxed) & block.bit == 0 {
                self.mapping.extend(block.words_at, page)?;
                directory.words.fetch_or(block.bit, Ordering::Relaxed);
            }
        }
        let start = page_of(start);
        let end = end.checked_next_multiple_of(page).unwrap_or(end).min(self.mapping.len());
        self.mapping.extend(start, end.saturating_sub(start))
    }

    /// Returns the memory of its whole pages to the system, and that of the words whose places all lie in it. Returns
    /// `false` if the memory stays, as it does if another process may know the span.
    pub fn give_memory_back(&mut self) -> bool {
        let (start, end) = whole_pages(self.offset(), self.end());
        if !self.is_plain() || start == end || !self.mapping.shrink(start, end.saturating_sub(start)) {
            return false;
        }
        let Some(directory) = &self.mapping.directory else { return true };
        for block in directory.blocks(self.offset(), self.end()) {
            // The first page also contains the header.
            let is_covered = block.places_at >= self.offset() && block.places_end <= self.end();
            if is_covered
                && block.words_at > 0
                && self.mapping.shrink(block.words_at, rustix::param::page_size())
            {
                directory.words.fetch_and(!block.bit, Ordering::Relaxed);
            }
        }
        true
    }
}

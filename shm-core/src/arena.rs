//! Where small objects get their memory: chunks of 1 MiB, cut from front to back, with free lists behind them.
//!
//! Making a mapping costs 0.3-0.5 ms, cutting a span a few nanoseconds. A span that comes back (its object was dropped, and
//! no process was forked since it was made) is used again at once; one that a forked process may know is not used again
//! while its chunk lives, and the kernel takes the chunk back when the last process has unmapped it. A chunk whose spans are
//! all free is given back whole, except the newest.
//!
//! The arena belongs to one process: a forked child starts with a chunk of its own, else both would cut the same bytes.
//!
//! # Invariants
//! 1. Every span in a free list is zeroed on its way out, never on its way in: a dropped object costs nothing.
//! 2. `free_count` of a mapping is the number of its spans in the free lists.

use std::collections::HashMap;

use mp_sys::fork::PerProcess;
use mp_sys::memory::MemoryError;
use mp_sys::span::{Chunk, SPAN_ALIGN, Span};

/// Bytes of a chunk that small objects share.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;
/// Larger objects get a mapping of their own, which goes with them.
pub(crate) const SMALL_BYTES_MAX: usize = CHUNK_BYTES / 4;
/// Size classes: 64 bytes, 128 bytes, … up to [`SMALL_BYTES_MAX`].
const CLASSES: usize = 13;

static ARENA: PerProcess<Arena> = PerProcess::new();

#[derive(Debug, Default)]
struct Arena {
    newest: Option<Chunk>,
    /// Free spans by mapping.
    free: HashMap<usize, FreeSpans>,
    /// For each class, mappings that had a free span of it; entries may be out of date.
    candidates: [Vec<usize>; CLASSES],
}

#[derive(Debug, Default)]
struct FreeSpans {
    by_class: [Vec<Span>; CLASSES],
    free_count: usize,
}

impl FreeSpans {
    /// What keeps the mapping: spans in use, free spans, and its chunk. `None` if there is no free span.
    fn users(&self) -> Option<usize> {
        self.by_class.iter().flatten().next().map(Span::mapping_users)
    }
}

/// A zeroed span of at least `bytes` bytes that comes back here when it is dropped.
pub(crate) fn allocate(bytes: usize) -> Result<Span, MemoryError> {
    let Some(class) = class_of(bytes) else {
        let mut chunk = Chunk::for_one(bytes)?;
        return chunk.cut(bytes).ok_or_else(|| no_space(bytes));
    };
    let (reused, span) = ARENA.lock().take(class)?;
    let mut span = span.send_home_on_drop(give_back);
    if reused {
        span.zero();
    }
    Ok(span)
}

fn give_back(span: Span) {
    // Dropping spans runs no code of the arena (they have no home), but may unmap: do it without the lock.
    let unused = ARENA.lock().put(span);
    drop(unused);
}

/// Gives the memory of this process back that no object uses, like `malloc_trim(3)` does for private memory.
///
/// What is kept for the next objects otherwise is one chunk of 1 MiB, and free slots between objects that are in use.
pub fn release_unused_memory() {
    let unused = ARENA.lock().trim();
    drop(unused);
}

fn no_space(bytes: usize) -> MemoryError {
    MemoryError::NoSpace { wanted: u64::try_from(bytes).unwrap_or(u64::MAX), available: 0 }
}

/// The index of the smallest class with room for `bytes`, `None` for large objects.
fn class_of(bytes: usize) -> Option<usize> {
    if bytes > SMALL_BYTES_MAX {
        return None;
    }
    let lines = bytes.div_ceil(SPAN_ALIGN).max(1).next_power_of_two();
    usize::try_from(lines.trailing_zeros()).ok()
}

fn class_bytes(class: usize) -> usize {
    SPAN_ALIGN << class
}

impl Arena {
    /// A span of a class, and whether it was used before.
    fn take(&mut self, class: usize) -> Result<(bool, Span), MemoryError> {
        if let Some(span) = self.take_free(class) {
            return Ok((true, span));
        }
        if let Some(span) = self.newest.as_mut().and_then(|chunk| chunk.cut(class_bytes(class))) {
            return Ok((false, span));
        }
        let mut chunk = Chunk::within(CHUNK_BYTES)?;
        let span = chunk.cut(class_bytes(class)).ok_or_else(|| no_space(class_bytes(class)))?;
        self.newest = Some(chunk);
        Ok((false, span))
    }

    fn take_free(&mut self, class: usize) -> Option<Span> {
        let candidates = self.candidates.get_mut(class)?;
        while let Some(mapping) = candidates.last() {
            let spans = self.free.get_mut(mapping);
            if let Some((spans, span)) = spans.and_then(|spans| {
                let span = spans.by_class.get_mut(class)?.pop()?;
                Some((spans, span))
            }) {
                spans.free_count = spans.free_count.saturating_sub(1);
                return Some(span);
            }
            candidates.pop();
        }
        None
    }

    /// What no object uses: the rest of the newest chunk, and every mapping whose spans are all free.
    fn trim(&mut self) -> (Option<Chunk>, Vec<FreeSpans>) {
        let newest_key = self.newest.as_ref().map(Chunk::mapping_key);
        let newest = self.newest.take();
        let all_free = |mapping: &usize, spans: &mut FreeSpans| {
            // The newest chunk itself, which is about to go, counts as a user.
            let chunks = usize::from(Some(*mapping) == newest_key);
            spans.users() == Some(spans.free_count.saturating_add(chunks))
        };
        let unused = self.free.extract_if(all_free).map(|(_, spans)| spans).collect();
        (newest, unused)
    }

    /// Puts a span into the free lists. Returns what is not needed any more: every span of a mapping that is all free.
    fn put(&mut self, span: Span) -> Option<FreeSpans> {
        let mapping = span.mapping_key();
        let is_newest = self.newest.as_ref().is_some_and(|chunk| chunk.mapping_key() == mapping);
        let users = span.mapping_users();
        let class = class_of(span.len())?;
        let spans = self.free.entry(mapping).or_default();
        let list = spans.by_class.get_mut(class)?;
        if list.is_empty() {
            self.candidates.get_mut(class)?.push(mapping);
        }
        list.push(span);
        spans.free_count = spans.free_count.saturating_add(1);
        if !is_newest && spans.free_count == users {
            return self.free.remove(&mapping);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        assert_eq!(class_of(0), Some(0));
        assert_eq!(class_of(64), Some(0));
        assert_eq!(class_of(65), Some(1));
        assert_eq!(class_of(SMALL_BYTES_MAX), Some(CLASSES - 1));
        assert_eq!(class_of(SMALL_BYTES_MAX + 1), None);
        assert_eq!(class_bytes(CLASSES - 1), SMALL_BYTES_MAX);
    }

    #[test]
    fn a_span_is_reused_and_a_chunk_that_is_all_free_goes() {
        let mut arena = Arena::default();
        // What lies where takes a part of the chunk.
        let per_chunk = CHUNK_BYTES / SMALL_BYTES_MAX - 1;
        let take = |arena: &mut Arena| arena.take(CLASSES - 1).unwrap().1;
        let first: Vec<Span> = (0..per_chunk).map(|_| take(&mut arena)).collect();
        let second = take(&mut arena);
        let key = first[0].mapping_key();
        assert_ne!(key, second.mapping_key(), "the first chunk is full");
        let mut gone = None;
        for span in first {
            assert!(gone.is_none(), "no chunk goes while a span is in use");
            gone = arena.put(span);
        }
        assert_eq!(gone.unwrap().free_count, per_chunk);
        let key = second.mapping_key();
        assert!(arena.put(second).is_none(), "the newest chunk stays");
        let (reused, again) = arena.take(CLASSES - 1).unwrap();
        assert!(reused);
        assert_eq!(again.mapping_key(), key);
    }
}

//! The memory of small objects: chunks of 1 MiB, cut from front to back, and free lists.
//!
//! To make a mapping costs tens of microseconds; to cut a span costs a few nanoseconds. A span comes back when its object is
//! dropped and no process was forked since it was made. It is then used again at once. A span that a forked process may know
//! is not used again while its chunk lives; the kernel frees the chunk when the last process has unmapped it. A chunk whose
//! spans are all free is unmapped, unless it is the newest.
//!
//! A few remaining objects must not keep the memory of many dropped ones:
//!
//! - A chunk takes memory as it is cut, some pages at a time: a single object in a chunk takes 2 pages, not 1 MiB.
//! - Objects below a page and objects above it have separate kinds of chunks, so a small object keeps only the memory of
//!   small objects.
//! - When too much memory is free (see [`FreeSpans::sweep`]), neighbouring spans are joined, and their pages go back to the
//!   kernel. The hole that remains can be cut again later, for objects of any size.
//!
//! The arena belongs to one process. A forked child starts with its own chunk, because otherwise both would cut the same
//! bytes.
//!
//! # Invariants
//! 1. A span is zeroed when it leaves a free list, not when it enters one, so dropping an object costs nothing.
//! 2. `held` of a mapping is the number of its spans in the arena. Holes have no memory; all other spans have.

mod spans;

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use mp_sys::fork::PerProcess;
use mp_sys::memory::MemoryError;
use mp_sys::span::{Chunk, SPAN_ALIGN, Span};

use self::spans::{AddressHasher, FreeSpans};

/// Bytes of a chunk that small objects share.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;
/// Larger objects get their own mapping, which is unmapped with them.
pub(crate) const SMALL_BYTES_MAX: usize = CHUNK_BYTES / 4;
/// Size classes: 64 bytes, 128 bytes, … up to [`SMALL_BYTES_MAX`].
const CLASSES: usize = 13;
/// Objects of this size or more are in the second kind of chunk.
const LARGE_FROM_BYTES: usize = 4096;
const KINDS: usize = 2;
/// How much memory a chunk takes at first; then it takes twice as much each time, …
const FIRST_STEP_BYTES: usize = 2048;
/// … up to this much.
const STEP_BYTES_MAX: usize = 32 << 10;
/// How much free memory is kept for the next objects.
const IDLE_BYTES_KEPT: usize = CHUNK_BYTES;
/// How many mappings, and how many holes of each, a search looks at before it makes a new chunk.
const LOOKS: usize = 8;

static ARENA: PerProcess<Arena> = PerProcess::new();

#[derive(Debug)]
struct Arena {
    kinds: [Kind; KINDS],
    /// Free spans by mapping.
    free: HashMap<usize, FreeSpans, BuildHasherDefault<AddressHasher>>,
    /// For each class, the mappings that had a free span of it. Entries may be out of date.
    candidates: [Vec<usize>; CLASSES],
    /// The number of bytes in free spans that have memory.
    idle: usize,
    /// The limit of `idle`, above which a sweep begins.
    idle_max: usize,
}

/// The state for cutting chunks of one kind.
#[derive(Debug)]
struct Kind {
    /// The span that is cut next. It has memory, and is zeroed.
    front: Option<Span>,
    /// The mapping that stays even if all of its spans are free.
    newest: usize,
    step: usize,
    /// The mappings that had a hole. Entries may be out of date.
    with_holes: Vec<usize>,
}

impl Default for Arena {
    fn default() -> Self {
        let kind = || Kind { front: None, newest: 0, step: FIRST_STEP_BYTES, with_holes: Vec::new() };
        Self {
            kinds: std::array::from_fn(|_| kind()),
            free: HashMap::default(),
            candidates: std::array::from_fn(|_| Vec::new()),
            idle: 0,
            idle_max: IDLE_BYTES_KEPT,
        }
    }
}

/// The spans that the arena gives up. They are dropped outside its lock, since that may unmap.
type Unused = Vec<(Option<Span>, FreeSpans)>;

/// Returns a zeroed span of at least `bytes` bytes, which comes back here when it is dropped.
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
    // These spans have no home, so dropping them runs no code of the arena. But it may unmap, so it happens without the lock.
    let unused = ARENA.lock().put(span);
    drop(unused);
}

/// Frees the shared memory of this process that no object uses, as `malloc_trim(3)` does for private memory.
///
/// By default, about 1 MiB between objects in use is kept for the next objects. A page that contains an object always stays.
pub fn release_unused_memory() {
    let unused = ARENA.lock().trim();
    drop(unused);
}

fn no_space(bytes: usize) -> MemoryError {
    MemoryError::NoSpace { wanted: u64::try_from(bytes).unwrap_or(u64::MAX), available: 0 }
}

/// Returns the index of the smallest class with room for `bytes`, or `None` for large objects.
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

fn kind_of(class: usize) -> usize {
    usize::from(class_bytes(class) >= LARGE_FROM_BYTES)
}

impl Arena {
    /// Returns whether a span was used before, and the span, which belongs to `class`.
    fn take(&mut self, class: usize) -> Result<(bool, Span), MemoryError> {
        if let Some(span) = self.take_free(class) {
            self.idle = self.idle.saturating_sub(class_bytes(class));
            return Ok((true, span));
        }
        let front = self.kinds.get_mut(kind_of(class)).and_then(|kind| kind.front.as_mut());
        match front.and_then(|front| front.cut_front(class_bytes(class))) {
            Some(span) => Ok((false, span)),
            None => self.take_from_hole(class),
        }
    }

    fn take_free(&mut self, class: usize) -> Option<Span> {
        let candidates = self.candidates.get_mut(class)?;
        while let Some(mapping) = candidates.last() {
            if let Some(span) = self.free.get_mut(mapping).and_then(|spans| spans.take(class)) {
                return Some(span);
            }
            candidates.pop();
        }
        None
    }

    /// Gives memory to a part of a hole or of a new chunk, and cuts a span from it. The next spans are cut from this part
    /// too.
    #[cold]
    fn take_from_hole(&mut self, class: usize) -> Result<(bool, Span), MemoryError> {
        let (bytes, kind) = (class_bytes(class), kind_of(class));
        let refused = || no_space(bytes);
        let found = self.find_hole(kind, bytes);
        let is_new = found.is_none();
        let mut rest = match found {
            Some(hole) => hole,
            None => {
                self.remove_all_free(&mut Unused::new());
                new_hole(kind)?
            }
        };
        let mapping = rest.mapping_key();
        let step = self.kinds.get(kind).map_or(bytes, |kind| kind.step);
        match reserve_front(&mut rest, bytes, step).and_then(|front| front.ok_or_else(refused)) {
            Ok(mut front) => {
                let span = front.cut_front(bytes).ok_or_else(refused)?;
                self.add_hole(kind, rest);
                let at = self.kinds.get_mut(kind).ok_or_else(refused)?;
                at.step = step.saturating_mul(2).min(STEP_BYTES_MAX);
                if is_new {
                    at.newest = mapping;
                }
                let surplus = at.front.replace(front);
                self.scatter(kind, surplus);
                Ok((false, span))
            }
            Err(error) => {
                // A new chunk is dropped: nothing has changed.
                if !is_new {
                    self.add_hole(kind, rest);
                }
                Err(error)
            }
        }
    }

    /// Takes out a hole of at least `bytes` bytes.
    fn find_hole(&mut self, kind: usize, bytes: usize) -> Option<Span> {
        let with_holes = &mut self.kinds.get_mut(kind)?.with_holes;
        while let Some(mapping) = with_holes.last() {
            if self.free.get(mapping).is_some_and(FreeSpans::has_holes) {
                break;
            }
            with_holes.pop();
        }
        let mut looks = with_holes.iter().rev().take(LOOKS);
        looks.find_map(|mapping| self.free.get_mut(mapping)?.take_hole(bytes))
    }

    fn add_hole(&mut self, kind: usize, hole: Span) {
        if hole.is_empty() {
            return;
        }
        let mapping = hole.mapping_key();
        if self.free.entry(mapping).or_insert_with(|| FreeSpans::new(kind)).put_hole(hole)
            && let Some(kind) = self.kinds.get_mut(kind)
        {
            kind.with_holes.push(mapping);
        }
    }

    /// Puts a span that has memory, and that is no longer cut, into the free lists.
    fn scatter(&mut self, kind: usize, surplus: Option<Span>) {
        let Some(span) = surplus.filter(|span| !span.is_empty()) else { return };
        let mapping = span.mapping_key();
        self.idle = self.idle.saturating_add(span.len());
        let spans = self.free.entry(mapping).or_insert_with(|| FreeSpans::new(kind));
        let first_ones = spans.scatter(span);
        for (class, candidates) in self.candidates.iter_mut().enumerate() {
            if first_ones >> class & 1 == 1 {
                candidates.push(mapping);
            }
        }
    }

    /// Returns whether only the arena keeps the mapping.
    fn is_all_free(&self, mapping: usize) -> bool {
        let fronts = self.kinds.iter().filter_map(|kind| kind.front.as_ref());
        let fronts = fronts.filter(|front| front.mapping_key() == mapping).count();
        let spans = self.free.get(&mapping);
        spans.is_some_and(|spans| spans.users() == Some(spans.held().saturating_add(fronts)))
    }

    fn is_newest(&self, mapping: usize) -> bool {
        self.kinds.iter().any(|kind| kind.newest == mapping)
    }

    /// Takes out a mapping whose spans are all free.
    fn remove(&mut self, mapping: usize, unused: &mut Unused) {
        let Some(spans) = self.free.remove(&mapping) else { return };
        self.idle = self.idle.saturating_sub(spans.idle());
        let is_there = |front: &mut Span| front.mapping_key() == mapping;
        let front = self.kinds.iter_mut().find_map(|kind| kind.front.take_if(is_there));
        unused.push((front, spans));
    }

    /// Puts a span into the free lists, and returns the spans that are no longer needed.
    fn put(&mut self, span: Span) -> Unused {
        let mut unused = Unused::new();
        let mapping = span.mapping_key();
        let Some(class) = class_of(span.len()) else { return unused };
        let users = span.mapping_users();
        self.idle = self.idle.saturating_add(class_bytes(class));
        let spans = self.free.entry(mapping).or_insert_with(|| FreeSpans::new(kind_of(class)));
        if spans.put(class, span)
            && let Some(candidates) = self.candidates.get_mut(class)
        {
            candidates.push(mapping);
        }
        let may_be_all_free = spans.held().saturating_add(KINDS) >= users;
        if may_be_all_free && !self.is_newest(mapping) && self.is_all_free(mapping) {
            self.remove(mapping, &mut unused);
        } else if self.idle > self.idle_max {
            self.sweep(&mut unused);
        }
        unused
    }

    /// Takes out the mappings without objects. The end of an object that a forked process may know is not noticed here.
    fn remove_all_free(&mut self, unused: &mut Unused) {
        let mappings: Vec<usize> = self.free.keys().copied().collect();
        for mapping in mappings {
            if !self.is_newest(mapping) && self.is_all_free(mapping) {
                self.remove(mapping, unused);
            }
        }
    }

    /// Frees the pages and mappings that contain no object.
    #[cold]
    fn sweep(&mut self, unused: &mut Unused) {
        self.remove_all_free(unused);
        self.candidates.iter_mut().for_each(Vec::clear);
        self.kinds.iter_mut().for_each(|kind| kind.with_holes.clear());
        self.idle = 0;
        for (mapping, spans) in &mut self.free {
            spans.sweep();
            self.idle = self.idle.saturating_add(spans.idle());
            for (class, candidates) in self.candidates.iter_mut().enumerate() {
                if spans.has(class) {
                    candidates.push(*mapping);
                }
            }
            if let Some(kind) = self.kinds.get_mut(spans.kind()).filter(|_| spans.has_holes()) {
                kind.with_holes.push(*mapping);
            }
        }
        // The remaining free spans share their pages with objects. Another sweep is worth it when there are many more.
        self.idle_max = self.idle.saturating_add(self.idle / 2).saturating_add(IDLE_BYTES_KEPT);
    }

    /// Takes out everything that no object uses.
    fn trim(&mut self) -> Unused {
        for kind in 0..KINDS {
            let front = self.kinds.get_mut(kind).and_then(|at| {
                (at.newest, at.step) = (0, FIRST_STEP_BYTES);
                at.front.take()
            });
            self.scatter(kind, front);
        }
        let mut unused = Unused::new();
        self.sweep(&mut unused);
        unused
    }
}

/// Makes a chunk that is one hole.
fn new_hole(kind: usize) -> Result<Span, MemoryError> {
    let mut hole = Chunk::sparse(CHUNK_BYTES)?;
    if kind > 0 {
        // Spans of whole pages begin at a page.
        drop(hole.cut_to_page());
    }
    Ok(hole)
}

/// Cuts a front off a hole and gives it memory: `step` bytes or as much as there is, at least `bytes`, and less if the limit
/// is near.
fn reserve_front(rest: &mut Span, bytes: usize, step: usize) -> Result<Option<Span>, MemoryError> {
    let step = step.clamp(bytes, rest.len().max(bytes));
    let Some(mut front) = rest.cut_pages(step) else { return Ok(None) };
    let mut outcome = front.reserve();
    if outcome.is_err()
        && let Some(least) = front.cut_pages(bytes)
    {
        put_before(rest, std::mem::replace(&mut front, least));
        outcome = front.reserve();
    }
    match outcome {
        Ok(()) => Ok(Some(front)),
        Err(error) => {
            put_before(rest, front);
            Err(error)
        }
    }
}

/// Puts back the part that was cut off `rest`.
fn put_before(rest: &mut Span, mut front: Span) {
    if let Some(behind) = rest.cut_front(rest.len()) {
        // Joining neighbours never fails.
        let _joined = front.join(behind);
        *rest = front;
    }
}

#[cfg(test)]
mod tests;

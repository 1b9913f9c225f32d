//! Where small objects get their memory: chunks of 1 MiB, cut from front to back, with free lists behind them.
//!
//! Making a mapping costs tens of microseconds, cutting a span a few nanoseconds. A span that comes back (its object was
//! dropped, and no process was forked since it was made) is used again at once; one that a forked process may know is not
//! used again while its chunk lives, and the kernel takes the chunk back when the last process has unmapped it. A chunk whose
//! spans are all free is given back whole, except the newest.
//!
//! A few objects that stay must not keep the memory of many that went:
//!
//! - A chunk takes memory as it is cut, some pages at a time: an object in a chunk of its own takes 2 pages, not 1 MiB.
//! - Objects below a page and those above lie in chunks of two kinds: what a small one keeps are small ones.
//! - When too much is free (see [`FreeSpans::sweep`]), neighbours are joined, and their pages go back to the kernel. What is
//!   left of the chunk there is cut again later, for objects of any size.
//!
//! The arena belongs to one process: a forked child starts with a chunk of its own, else both would cut the same bytes.
//!
//! # Invariants
//! 1. Every span in a free list is zeroed on its way out, never on its way in: a dropped object costs nothing.
//! 2. `held` of a mapping is the number of its spans in the arena; holes have no memory, all other spans have theirs.

mod spans;

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use mp_sys::fork::PerProcess;
use mp_sys::memory::MemoryError;
use mp_sys::span::{Chunk, SPAN_ALIGN, Span};

use self::spans::{AddressHasher, FreeSpans};

/// Bytes of a chunk that small objects share.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;
/// Larger objects get a mapping of their own, which goes with them.
pub(crate) const SMALL_BYTES_MAX: usize = CHUNK_BYTES / 4;
/// Size classes: 64 bytes, 128 bytes, … up to [`SMALL_BYTES_MAX`].
const CLASSES: usize = 13;
/// Objects of this size or more lie in chunks of their own kind.
const LARGE_FROM_BYTES: usize = 4096;
const KINDS: usize = 2;
/// A chunk takes this much memory at first, then twice as much each time, …
const FIRST_STEP_BYTES: usize = 2048;
/// … and this much in the end.
const STEP_BYTES_MAX: usize = 32 << 10;
/// Free memory that is kept for the next objects.
const IDLE_BYTES_KEPT: usize = CHUNK_BYTES;
/// Mappings, and holes of each, that are looked at for a place before there is a new chunk.
const LOOKS: usize = 8;

static ARENA: PerProcess<Arena> = PerProcess::new();

#[derive(Debug)]
struct Arena {
    kinds: [Kind; KINDS],
    /// Free spans by mapping.
    free: HashMap<usize, FreeSpans, BuildHasherDefault<AddressHasher>>,
    /// For each class, mappings that had a free span of it; entries may be out of date.
    candidates: [Vec<usize>; CLASSES],
    /// Bytes of the free spans that have memory.
    idle: usize,
    /// How much of that is too much.
    idle_max: usize,
}

/// What chunks of a kind are cut by.
#[derive(Debug)]
struct Kind {
    /// What is cut next: it has memory, and is zeroed.
    front: Option<Span>,
    /// The mapping that stays when all is free in it.
    newest: usize,
    step: usize,
    /// Mappings that had a hole; entries may be out of date.
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

/// What the arena gives back: dropped outside of its lock, since that may unmap.
type Unused = Vec<(Option<Span>, FreeSpans)>;

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
/// What is kept for the next objects otherwise is some 1 MiB between objects that are in use. What
/// stays in any case are pages in which an object lies.
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

fn kind_of(class: usize) -> usize {
    usize::from(class_bytes(class) >= LARGE_FROM_BYTES)
}

impl Arena {
    /// A span of a class, and whether it was used before.
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

    /// Gives memory to a part of a hole, or of a new chunk, which is the next one to be cut; and cuts a span from it.
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
                // A new chunk goes: nothing was made.
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

    /// Puts what has memory, but is not cut on, into the free lists.
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

    /// Whether nothing but the arena keeps the mapping.
    fn is_all_free(&self, mapping: usize) -> bool {
        let fronts = self.kinds.iter().filter_map(|kind| kind.front.as_ref());
        let fronts = fronts.filter(|front| front.mapping_key() == mapping).count();
        let spans = self.free.get(&mapping);
        spans.is_some_and(|spans| spans.users() == Some(spans.held().saturating_add(fronts)))
    }

    fn is_newest(&self, mapping: usize) -> bool {
        self.kinds.iter().any(|kind| kind.newest == mapping)
    }

    /// Takes a mapping that is all free out.
    fn remove(&mut self, mapping: usize, unused: &mut Unused) {
        let Some(spans) = self.free.remove(&mapping) else { return };
        self.idle = self.idle.saturating_sub(spans.idle());
        let is_there = |front: &mut Span| front.mapping_key() == mapping;
        let front = self.kinds.iter_mut().find_map(|kind| kind.front.take_if(is_there));
        unused.push((front, spans));
    }

    /// Puts a span into the free lists. Returns what is not needed any more.
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

    /// Takes out the mappings in which no object lies. Where a forked process may know an object, its end is not told here.
    fn remove_all_free(&mut self, unused: &mut Unused) {
        let mappings: Vec<usize> = self.free.keys().copied().collect();
        for mapping in mappings {
            if !self.is_newest(mapping) && self.is_all_free(mapping) {
                self.remove(mapping, unused);
            }
        }
    }

    /// Gives the pages back in which nothing lies, and the mappings.
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
        // What is left lies in one page with objects: another look is worth it when there is much more.
        self.idle_max = self.idle.saturating_add(self.idle / 2).saturating_add(IDLE_BYTES_KEPT);
    }

    /// All that no object uses.
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

/// A chunk that is one hole.
fn new_hole(kind: usize) -> Result<Span, MemoryError> {
    let mut hole = Chunk::sparse(CHUNK_BYTES)?;
    if kind > 0 {
        // Spans of whole pages lie in whole pages.
        drop(hole.cut_to_page());
    }
    Ok(hole)
}

/// Cuts a front of `step` bytes or what there is, at least `bytes`, off a hole and gives it memory; less if the limit is near.
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

/// Puts what was cut off `rest` back.
fn put_before(rest: &mut Span, mut front: Span) {
    if let Some(behind) = rest.cut_front(rest.len()) {
        // Neighbours always join.
        let _joined = front.join(behind);
        *rest = front;
    }
}

#[cfg(test)]
mod tests;

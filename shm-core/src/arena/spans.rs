//! The free spans of one mapping: those with memory, by size, and holes, which have none.

use std::hash::Hasher;

use mp_sys::span::{Span, whole_pages};

use super::{CLASSES, LOOKS, class_bytes, class_of, kind_of};

/// The free spans of one mapping: see the module.
#[derive(Debug)]
pub(super) struct FreeSpans {
    kind: usize,
    by_class: [Vec<Span>; CLASSES],
    /// Whole pages without memory.
    holes: Vec<Span>,
    /// The number of all of these spans.
    held: usize,
}

impl FreeSpans {
    pub(super) fn new(kind: usize) -> Self {
        Self { kind, by_class: std::array::from_fn(|_| Vec::new()), holes: Vec::new(), held: 0 }
    }

    pub(super) fn kind(&self) -> usize {
        self.kind
    }

    /// Returns the number of spans.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Returns the number of spans that keep the mapping, in use or in the arena, or `None` if there is no free span.
    pub(super) fn users(&self) -> Option<usize> {
        self.by_class.iter().flatten().chain(&self.holes).next().map(Span::mapping_users)
    }

    /// Returns the number of bytes in spans with memory.
    pub(super) fn idle(&self) -> usize {
        let bytes = |(class, spans): (usize, &Vec<Span>)| class_bytes(class).saturating_mul(spans.len());
        self.by_class.iter().enumerate().map(bytes).sum()
    }

    pub(super) fn has(&self, class: usize) -> bool {
        self.by_class.get(class).is_some_and(|spans| !spans.is_empty())
    }

    pub(super) fn has_holes(&self) -> bool {
        !self.holes.is_empty()
    }

    pub(super) fn take(&mut self, class: usize) -> Option<Span> {
        let span = self.by_class.get_mut(class)?.pop()?;
        self.held = self.held.saturating_sub(1);
        Some(span)
    }

    /// Adds a span, and returns whether it is the only one of its class.
    pub(super) fn put(&mut self, class: usize, span: Span) -> bool {
        let Some(spans) = self.by_class.get_mut(class) else { return false };
        spans.push(span);
        self.held = self.held.saturating_add(1);
        spans.len() == 1
    }

    /// Takes out a hole of at least `bytes` bytes, one of the newest.
    pub(super) fn take_hole(&mut self, bytes: usize) -> Option<Span> {
        let mut newest = self.holes.iter().enumerate().rev().take(LOOKS);
        let (index, _) = newest.find(|(_, hole)| hole.len() >= bytes)?;
        self.held = self.held.saturating_sub(1);
        Some(self.holes.swap_remove(index))
    }

    /// Adds a hole, and returns whether it is the only one.
    pub(super) fn put_hole(&mut self, hole: Span) -> bool {
        self.holes.push(hole);
        self.held = self.held.saturating_add(1);
        self.holes.len() == 1
    }

    /// Cuts a span with memory, of any length, into spans of the classes. Returns a bit for each class that had none.
    pub(super) fn scatter(&mut self, mut span: Span) -> u32 {
        let mut first_ones = 0;
        let kind = self.kind;
        for class in (0..CLASSES).rev().filter(|class| kind_of(*class) == kind) {
            while span.len() >= class_bytes(class) {
                let Some(part) = span.cut_front(class_bytes(class)) else { break };
                first_ones |= u32::from(self.put(class, part)) << class;
            }
        }
        first_ones
    }

    /// Turns the pages without objects into holes.
    pub(super) fn sweep(&mut self) {
        let mut spans: Vec<Span> = self.by_class.iter_mut().flat_map(|spans| spans.drain(..)).collect();
        spans.sort_unstable_by_key(Span::offset);
        self.held = self.holes.len();
        let mut neighbours: Vec<Span> = Vec::new();
        for span in spans {
            if neighbours.last().is_some_and(|last| last.end() != span.offset()) {
                self.settle(&mut neighbours);
            }
            neighbours.push(span);
        }
        self.settle(&mut neighbours);
        self.join_holes();
    }

    /// Frees the memory of the whole pages in a run of neighbours.
    fn settle(&mut self, neighbours: &mut Vec<Span>) {
        let (Some(first), Some(last)) = (neighbours.first(), neighbours.last()) else { return };
        let (start, end) = whole_pages(first.offset(), last.end());
        let mut run: Option<Span> = None;
        for span in neighbours.drain(..) {
            let is_inside = start < end && span.end() > start && span.offset() < end;
            let apart = match &mut run {
                _ if !is_inside => Some(span),
                // Joining neighbours never fails.
                Some(run) => run.join(span).err(),
                None => {
                    run = Some(span);
                    None
                }
            };
            if let Some((class, span)) = apart.and_then(|span| Some((class_of(span.len())?, span))) {
                let _is_first = self.put(class, span);
            }
        }
        let Some(mut run) = run else { return };
        if run.give_memory_back() {
            let head = run.cut_to_page();
            let hole = run.cut_front(run.page_bytes());
            for part in [head, Some(run)].into_iter().flatten() {
                let _firsts = self.scatter(part);
            }
            if let Some(hole) = hole {
                let _is_only = self.put_hole(hole);
            }
        } else {
            let _firsts = self.scatter(run);
        }
    }

    fn join_holes(&mut self) {
        self.holes.sort_unstable_by_key(Span::offset);
        let apart = self.held.saturating_sub(self.holes.len());
        let mut joined: Vec<Span> = Vec::with_capacity(self.holes.len());
        for hole in self.holes.drain(..) {
            let alone = match joined.last_mut() {
                Some(last) => last.join(hole).err(),
                None => Some(hole),
            };
            joined.extend(alone);
        }
        self.held = apart.saturating_add(joined.len());
        self.holes = joined;
    }
}

/// A fast hash of the addresses of mappings. The kernel chose them, so nobody can make them collide, and each object needs
/// the hash.
#[derive(Debug, Default)]
pub(super) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let product = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // Pages begin at round numbers, so the upper half is better distributed.
        self.0 = product ^ (product >> 32);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(u64::try_from(number).unwrap_or(u64::MAX));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

//! The items of a list: a sequence that can be reversed by reading it from the other end.

use crate::proto::Payload;
use crate::state::sequence::Sequence;

/// Items by index.
#[derive(Debug, Default)]
pub(super) struct Items {
    sequence: Sequence<Payload>,
    /// Whether the sequence begins with the last item.
    is_reversed: bool,
}

impl Items {
    pub(super) fn len(&self) -> usize {
        self.sequence.len()
    }

    /// Returns how much memory the items take, in bytes, without what they own.
    pub(super) fn bytes(&self) -> usize {
        self.sequence.bytes()
    }

    pub(super) fn get(&self, at: usize) -> Option<&Payload> {
        self.sequence.get(self.place(at)?)
    }

    #[inline]
    pub(super) fn push(&mut self, item: Payload) {
        if self.is_reversed {
            self.sequence.push_front(item);
        } else {
            self.sequence.push(item);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Payload> {
        if self.is_reversed { self.sequence.pop_front() } else { self.sequence.pop() }
    }

    /// Inserts an item before the one at `at`, or at the end. Returns the item as the error if `at` is past the end.
    pub(super) fn insert(&mut self, at: usize, item: Payload) -> Result<(), Payload> {
        let place = if self.is_reversed { self.len().checked_sub(at) } else { Some(at) };
        match place {
            Some(place) => self.sequence.insert(place, item),
            None => Err(item),
        }
    }

    pub(super) fn remove(&mut self, at: usize) -> Option<Payload> {
        self.sequence.remove(self.place(at)?)
    }

    /// Replaces an item, and returns the previous one. Returns the new item as the error if `at` is past the end.
    pub(super) fn replace(&mut self, at: usize, item: Payload) -> Result<Payload, Payload> {
        match self.place(at) {
            Some(place) => self.sequence.replace(place, item),
            None => Err(item),
        }
    }

    /// Swaps two items. Returns `false` if one index is past the end.
    pub(super) fn swap(&mut self, one: usize, other: usize) -> bool {
        match (self.place(one), self.place(other)) {
            (Some(one), Some(other)) => self.sequence.swap(one, other),
            _ => false,
        }
    }

    pub(super) fn reverse(&mut self) {
        self.is_reversed = !self.is_reversed;
    }

    /// Returns the items, in any order.
    pub(super) fn values(&self) -> impl Iterator<Item = &Payload> {
        self.sequence.range(0, usize::MAX)
    }

    /// Passes all items from one on to `visit`, as long as it returns `true`.
    pub(super) fn visit_from<'a>(&'a self, at: usize, mut visit: impl FnMut(&'a Payload) -> bool) {
        match self.place(at) {
            Some(place) if self.is_reversed => {
                self.sequence.backwards_from(place).all(&mut visit);
            }
            Some(place) => {
                self.sequence.range(place, usize::MAX).all(&mut visit);
            }
            None => {}
        }
    }

    /// Takes the items out in their order, or returns `None` if that would take a step for each item.
    pub(super) fn take_sequence(&mut self) -> Option<Sequence<Payload>> {
        (!self.is_reversed).then(|| self.sequence.take())
    }

    /// Empties the list at once, and returns its contents.
    pub(super) fn take(&mut self) -> Self {
        Self { sequence: self.sequence.take(), is_reversed: self.is_reversed }
    }

    /// Returns the items with `order[i]` at place `i`, if the order names each of them once.
    pub(super) fn reordered(&self, order: &[u64]) -> Option<Self> {
        if order.len() != self.len() {
            return None;
        }
        // Collected into one piece of memory: the chunks are walked once, and a random access then costs one cache
        // miss.
        let mut flat = Vec::with_capacity(self.len());
        self.visit_from(0, |item| {
            flat.push(Some(item.clone()));
            true
        });
        let mut sequence = Sequence::new();
        for at in order {
            sequence.push(flat.get_mut(usize::try_from(*at).ok()?)?.take()?);
        }
        Some(Self { sequence, is_reversed: false })
    }

    /// Returns the items, last first, so that they can be released in steps.
    pub(super) fn into_values(mut self) -> impl Iterator<Item = Payload> + Send {
        std::iter::from_fn(move || self.pop())
    }

    fn place(&self, at: usize) -> Option<usize> {
        if self.is_reversed { self.len().checked_sub(1)?.checked_sub(at) } else { Some(at) }
    }
}

//! The items of a list: a sequence that is turned round by looking at it from the other end.

use crate::proto::Payload;
use crate::state::sequence::Sequence;

/// Items by index.
#[derive(Debug, Default)]
pub(in crate::state) struct Items {
    sequence: Sequence<Payload>,
    /// The sequence begins with the last item.
    is_reversed: bool,
}

impl Items {
    pub(super) fn len(&self) -> usize {
        self.sequence.len()
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

    /// Puts an item before the one at `at`, or at the end; it comes back if that is past the end.
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

    /// Puts an item in the place of another, which comes back; the new one does past the end.
    pub(super) fn replace(&mut self, at: usize, item: Payload) -> Result<Payload, Payload> {
        match self.place(at) {
            Some(place) => self.sequence.replace(place, item),
            None => Err(item),
        }
    }

    /// Exchanges two items; `false` if one is past the end.
    pub(super) fn swap(&mut self, one: usize, other: usize) -> bool {
        match (self.place(one), self.place(other)) {
            (Some(one), Some(other)) => self.sequence.swap(one, other),
            _ => false,
        }
    }

    pub(super) fn reverse(&mut self) {
        self.is_reversed = !self.is_reversed;
    }

    /// All items from one on, as long as `visit` says so.
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

    /// Empties it at once, and gives what was in it.
    pub(super) fn take(&mut self) -> Self {
        Self { sequence: self.sequence.take(), is_reversed: self.is_reversed }
    }

    /// The item `order[i]` of these at `i`, if the order has each of them once.
    pub(super) fn reordered(&self, order: &[u64]) -> Option<Self> {
        if order.len() != self.len() {
            return None;
        }
        // In one piece of memory: the chunks are walked once, and a look into the middle costs one cache miss.
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

    /// Takes the items out, last first: for letting go of them in steps.
    pub(super) fn into_values(mut self) -> impl Iterator<Item = Payload> + Send {
        std::iter::from_fn(move || self.pop())
    }

    fn place(&self, at: usize) -> Option<usize> {
        if self.is_reversed { self.len().checked_sub(1)?.checked_sub(at) } else { Some(at) }
    }
}

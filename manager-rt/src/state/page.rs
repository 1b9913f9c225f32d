//! How much of a long object fits in one answer.

use crate::limits::{PAGE_BYTES, PAGE_ITEMS_MAX};
use crate::proto::Payload;

/// The room that is left in an answer with many values.
#[derive(Debug)]
pub(super) struct Page {
    items: u64,
    bytes: usize,
    is_empty: bool,
}

impl Page {
    /// Makes room for `max` items, unless another limit is reached before.
    pub(super) fn new(max: u64) -> Self {
        Self { items: max.min(PAGE_ITEMS_MAX), bytes: PAGE_BYTES, is_empty: true }
    }

    /// Takes the room for an item with these values, if there is enough. The first item always has room, however long
    /// it is.
    pub(super) fn admits<'a>(&mut self, values: impl IntoIterator<Item = &'a Payload>) -> bool {
        let Some(items) = self.items.checked_sub(1) else { return false };
        let bytes = values.into_iter().map(|value| {
            let raw = value.raw();
            raw.bytes.len().saturating_add(raw.ids.len())
        });
        let bytes = bytes.fold(0, usize::saturating_add);
        if bytes > self.bytes && !self.is_empty {
            return false;
        }
        *self = Self { items, bytes: self.bytes.saturating_sub(bytes), is_empty: false };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Raw;

    fn value(len: usize) -> Payload {
        Payload::copy(Raw::plain(&vec![0; len]))
    }

    #[test]
    fn a_page_ends_at_its_bytes_but_has_one_item() {
        let mut page = Page::new(9);
        assert!(page.admits([&value(PAGE_BYTES - 30)]));
        assert!(!page.admits([&value(16), &value(15)]));
        assert!(page.admits([&value(15), &value(15)]), "exactly the bytes that are left");
        assert!(!page.admits([&value(1)]));
        let mut page = Page::new(9);
        assert!(page.admits([&value(PAGE_BYTES + 1)]));
        assert!(!page.admits([&value(1)]));
    }

    #[test]
    fn a_page_ends_at_its_items() {
        for (max, expected) in
            [(0, 0), (3, 3), (PAGE_ITEMS_MAX, PAGE_ITEMS_MAX), (PAGE_ITEMS_MAX + 1, PAGE_ITEMS_MAX)]
        {
            let mut page = Page::new(max);
            let admitted = (0..=PAGE_ITEMS_MAX).filter(|_| page.admits([&value(0)])).count();
            assert_eq!(u64::try_from(admitted).unwrap(), expected);
        }
    }
}

//! User code that panics on request.
//!
//! A trap is set for one thread, so the contenders run the same code without being affected.

use std::cell::Cell;
use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Which user code panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trap {
    Closure,
    Serialize,
    Deserialize,
    Next,
    AsRef,
    AsFd,
    Drop,
    Debug,
    Compare,
    /// `CheckedBitPattern::is_valid_bit_pattern` of an element.
    Look,
    /// A subscriber of `tracing`.
    Event,
}

thread_local! {
    /// The trap of this thread, and how many calls it lets pass.
    static SET: Cell<Option<(Trap, u32)>> = const { Cell::new(None) };
}

/// The code that `trap` names calls this.
pub(crate) fn spring(trap: Trap) {
    match SET.get() {
        Some((set, 0)) if set == trap => {
            // It panics only once: what is dropped during the unwinding must not panic again.
            SET.set(None);
            panic!("on purpose");
        }
        Some((set, passes)) if set == trap => SET.set(Some((set, passes - 1))),
        _ => {}
    }
}

/// Runs `body` with a trap that lets some calls pass; returns whether it panicked.
pub(crate) fn is_caught(trap: Trap, passes: u32, body: impl FnOnce()) -> bool {
    SET.set(Some((trap, passes)));
    let outcome = catch_unwind(AssertUnwindSafe(body));
    SET.set(None);
    outcome.is_err()
}

/// A value whose every trait may panic.
pub(crate) struct Item(pub(crate) u64);

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        spring(Trap::Serialize);
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        spring(Trap::Deserialize);
        Ok(Self(number))
    }
}

impl AsRef<[u8]> for Item {
    fn as_ref(&self) -> &[u8] {
        spring(Trap::AsRef);
        b"\x05"
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        spring(Trap::Drop);
    }
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        spring(Trap::Debug);
        write!(f, "Item({})", self.0)
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Item {}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        spring(Trap::Compare);
        self.0.cmp(&other.0)
    }
}

/// Returns an iterator over items that may panic.
pub(crate) fn iterated(items: &[Item]) -> impl Iterator<Item = &Item> {
    items.iter().inspect(|_| spring(Trap::Next))
}

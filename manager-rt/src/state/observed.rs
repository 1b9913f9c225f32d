//! What can be seen of an object from outside: how long it is, what it takes, and who waits for it.

use crate::count::count_of;
use crate::limits::VALUES_SEEN_MAX;
use crate::proto::report::LockHolder;
use crate::state::delivery::outside_of;
use crate::state::kinds::Body;

/// What an object takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    /// In bytes.
    pub(super) bytes: u64,
    /// Whether that is an estimate.
    pub(super) is_estimate: bool,
    /// At how many values it took a look.
    pub(super) seen: usize,
}

impl Body {
    /// Returns the number of items, entries, elements, attributes, or free permits.
    pub(super) fn len(&self) -> Option<u64> {
        Some(match self {
            Self::Queue(queue) => queue.len(),
            Self::JoinableQueue(queue) => queue.len(),
            Self::Array(array) => count_of(array.len()),
            Self::Dict(dict) => count_of(dict.len()),
            Self::List(list) => count_of(list.items().len()),
            Self::Namespace(names) => count_of(names.len()),
            Self::Semaphore(semaphore) => semaphore.free(),
            Self::Lock(_) | Self::Condition(_) | Self::Event(_) | Self::Barrier(_) | Self::Value(_) => {
                return None;
            }
        })
    }

    /// Returns the number of calls that wait for it.
    pub(super) fn waiting(&self) -> usize {
        match self {
            Self::Lock(lock) => lock.waiting(),
            Self::Semaphore(semaphore) => semaphore.waiting(),
            Self::Condition(line) => line.len(),
            Self::Event(event) => event.waiting(),
            Self::Barrier(barrier) => barrier.waiting(),
            Self::Queue(queue) => queue.waiting(),
            Self::JoinableQueue(queue) => queue.waiting(),
            Self::Array(_) | Self::Dict(_) | Self::List(_) | Self::Namespace(_) | Self::Value(_) => 0,
        }
    }

    /// Returns `true` if something of it is held, or a call waits for it.
    pub(super) fn is_busy(&self) -> bool {
        self.held() > 0 || self.waiting() > 0
    }

    /// Returns the holder of a lock at the time `now`.
    pub(super) fn holder(&self, now: u64) -> Option<LockHolder> {
        match self {
            Self::Lock(lock) => lock.holder(now),
            _ => None,
        }
    }

    /// Returns what its containers and values take.
    pub(super) fn size(&self) -> Size {
        let (mut seen, mut outside) = (0_usize, 0_usize);
        for value in self.values().take(VALUES_SEEN_MAX) {
            seen = seen.saturating_add(1);
            outside = outside.saturating_add(outside_of(std::slice::from_ref(value)));
        }
        let all = self.values_in_all();
        let is_estimate = all > count_of(seen);
        let mut outside = u128::from(count_of(outside));
        if is_estimate {
            let average = outside.saturating_mul(all.into()).checked_div(count_of(seen).into());
            outside = average.unwrap_or_default();
        }
        let bytes = count_of(self.bytes()).saturating_add(u64::try_from(outside).unwrap_or(u64::MAX));
        Size { bytes, is_estimate, seen }
    }

    /// Returns the number of values.
    fn values_in_all(&self) -> u64 {
        let len = self.len().unwrap_or_default();
        match self {
            Self::Dict(_) | Self::Namespace(_) => len.saturating_mul(2),
            Self::JoinableQueue(queue) => len.saturating_add(queue.taken_or_failed()),
            Self::Queue(_) | Self::Array(_) | Self::List(_) => len,
            Self::Value(_) => 1,
            Self::Semaphore(_) | Self::Lock(_) | Self::Condition(_) | Self::Event(_) | Self::Barrier(_) => 0,
        }
    }
}

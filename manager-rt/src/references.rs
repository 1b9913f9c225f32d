//! How many proxies of each object this process has.
//!
//! A manager counts one reference for a process, however many proxies it has: the first proxy asks for it, the last gives it
//! back. So cloning a proxy is a count in this table, and no message.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::proto::ObjectId;

/// The proxies of one manager in this process.
#[derive(Debug, Default)]
pub(crate) struct References {
    counts: Mutex<HashMap<ObjectId, u64>>,
}

impl References {
    /// Counts one more; `true` if it is the first.
    pub(crate) fn add(&self, object: ObjectId) -> bool {
        let mut counts = self.lock();
        let count = counts.entry(object).or_insert(0);
        *count = count.saturating_add(1);
        *count == 1
    }

    /// Counts one less; `true` if it was the last.
    pub(crate) fn remove(&self, object: ObjectId) -> bool {
        let mut counts = self.lock();
        let Some(count) = counts.get_mut(&object) else { return false };
        *count = count.saturating_sub(1);
        let is_last = *count == 0;
        if is_last {
            counts.remove(&object);
        }
        is_last
    }

    /// All objects that this process has a proxy of: what a new connection asks for.
    #[cfg_attr(not(test), expect(dead_code, reason = "the connection to a server follows"))]
    pub(crate) fn all(&self) -> Vec<ObjectId> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectId, u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_are_told() {
        let references = References::default();
        let (one, other) = (ObjectId(1), ObjectId(2));
        assert!(references.add(one));
        assert!(!references.add(one));
        assert!(references.add(other));
        assert!(!references.remove(one));
        assert!(references.remove(one));
        assert!(!references.remove(one));
        assert_eq!(references.all(), [other]);
    }
}

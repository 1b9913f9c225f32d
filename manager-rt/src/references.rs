//! How many proxies of each object this process has.
//!
//! A manager counts one reference for a process, however many proxies it has: the first proxy asks for it, the last gives it
//! back. So cloning a proxy is a count in this table, and no message.
//!
//! The manager counts by connection, so the table knows for which connection each reference was asked for: connections have
//! numbers that grow. A new one asks for everything in the table ([`References::ask_for_all`]); whoever adds a proxy asks
//! only if the newest connection has not done so.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mp_sys::fork::forks;

use crate::proto::ObjectId;

/// The proxies of one manager in this process.
#[derive(Debug, Default)]
pub(crate) struct References {
    entries: Mutex<HashMap<ObjectId, Entry>>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    count: u64,
    /// The connection that the reference was asked for on; 0 for none.
    connection: u64,
    /// [`forks`] when the first proxy came.
    forks: u64,
}

/// The last proxy of an object has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Last {
    /// The connection that the reference is to be given back on; 0 for none.
    pub(crate) connection: u64,
    /// This process was forked since the first proxy came: a child may have one that it has not asked for yet.
    pub(crate) may_be_inherited: bool,
}

impl References {
    /// The table of a forked child, which has the same proxies, and has asked for none of them.
    ///
    /// If another thread of the parent was using the table at the moment of the fork, nobody knows what is in it. The child
    /// begins with an empty one then: what it inherited lives as long as others refer to it.
    pub(crate) fn inherited(parents: &Self) -> Self {
        let mut entries = match parents.entries.try_lock() {
            Ok(entries) => entries.clone(),
            Err(_) => HashMap::new(),
        };
        entries.values_mut().for_each(|entry| entry.connection = 0);
        Self { entries: Mutex::new(entries) }
    }

    /// Counts one more if there is one already. Then nothing is to be asked for: somebody has done it, or does it at the
    /// moment, or the next connection will.
    pub(crate) fn add_another(&self, object: ObjectId) -> bool {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(&object) else { return false };
        entry.count = entry.count.saturating_add(1);
        true
    }

    /// Counts one more; `true` if the reference is to be asked for on this connection.
    pub(crate) fn add(&self, object: ObjectId, connection: u64) -> bool {
        let mut entries = self.lock();
        let entry =
            entries.entry(object).or_insert_with(|| Entry { count: 0, connection: 0, forks: forks() });
        entry.count = entry.count.saturating_add(1);
        entry.claim(connection)
    }

    /// Whether the reference is to be asked for on this connection, without counting.
    pub(crate) fn claim(&self, object: ObjectId, connection: u64) -> bool {
        self.lock().get_mut(&object).is_some_and(|entry| entry.claim(connection))
    }

    /// Counts one less, and says if it was the last.
    pub(crate) fn remove(&self, object: ObjectId) -> Option<Last> {
        let mut entries = self.lock();
        let entry = entries.get_mut(&object)?;
        entry.count = entry.count.saturating_sub(1);
        let last = Last { connection: entry.connection, may_be_inherited: entry.forks != forks() };
        if entry.count > 0 {
            return None;
        }
        entries.remove(&object);
        Some(last)
    }

    /// All objects that this process has a proxy of: what a new connection asks for.
    pub(crate) fn ask_for_all(&self, connection: u64) -> Vec<ObjectId> {
        let mut entries = self.lock();
        entries.values_mut().for_each(|entry| entry.connection = connection);
        entries.keys().copied().collect()
    }

    /// Those of these objects that this process has no proxy of.
    pub(crate) fn missing(&self, objects: &[ObjectId]) -> Vec<ObjectId> {
        let entries = self.lock();
        objects.iter().copied().filter(|object| !entries.contains_key(object)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    const fn claim(&mut self, connection: u64) -> bool {
        let is_to_be_asked_for = self.connection < connection;
        if is_to_be_asked_for {
            self.connection = connection;
        }
        is_to_be_asked_for
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_are_told() {
        let references = References::default();
        let (one, other) = (ObjectId(1), ObjectId(2));
        assert!(!references.add_another(one));
        assert!(references.add(one, 1));
        assert!(references.add_another(one));
        assert!(references.add(other, 1));
        assert_eq!(references.remove(one), None);
        assert_eq!(references.remove(one), Some(Last { connection: 1, may_be_inherited: false }));
        assert_eq!(references.remove(one), None);
        assert_eq!(references.ask_for_all(1), [other]);
        assert_eq!(references.missing(&[one, other]), [one]);
    }

    #[test]
    fn a_new_connection_asks_once_and_an_old_one_not_again() {
        let references = References::default();
        let (one, other) = (ObjectId(1), ObjectId(2));
        assert!(references.add(one, 1));
        assert_eq!(references.ask_for_all(2), [one]);
        assert!(!references.claim(one, 2), "all were asked for");
        assert!(references.add(other, 1), "on the connection that it saw");
        assert!(references.claim(other, 2), "which was not the newest");
        assert!(!references.claim(other, 1));
        assert_eq!(references.remove(other), Some(Last { connection: 2, may_be_inherited: false }));
    }

    #[test]
    fn a_child_has_asked_for_nothing() {
        let references = References::default();
        references.add(ObjectId(1), 5);
        let childs = References::inherited(&references);
        assert!(childs.claim(ObjectId(1), 1));
        let guard = references.lock();
        assert_eq!(References::inherited(&references).ask_for_all(1), [], "somebody was at it");
        drop(guard);
    }
}

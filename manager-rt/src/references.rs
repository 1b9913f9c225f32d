//! The number of proxies that this process has of each object.
//!
//! A manager counts one reference per process, however many proxies the process has. The first proxy requests the
//! reference, and the last one releases it. So cloning a proxy only changes a count in this table, and sends no
//! message.
//!
//! The manager counts by connection, so the table records on which connection each reference was requested. The numbers
//! of connections grow. A new connection requests everything in the table ([`References::ask_for_all`]). A caller that
//! adds a proxy requests the reference only if the newest connection has not done so.

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
    /// The connection on which the reference was requested; 0 for none.
    connection: u64,
    /// The value of [`forks`] when the first proxy was added.
    forks: u64,
}

/// What [`References::remove`] returns for the last proxy of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Last {
    /// The connection on which to release the reference; 0 for none.
    pub(crate) connection: u64,
    /// Whether this process forked since the first proxy was added. Then a child may have a proxy whose reference it
    /// has not requested yet.
    pub(crate) may_be_inherited: bool,
}

impl References {
    /// Makes the table of a forked child. The child has the same proxies, but has requested no references.
    ///
    /// If another thread of the parent was using the table during the fork, its contents are unknown. The child then
    /// starts with an empty table, and the objects that it inherited live only as long as other references exist.
    pub(crate) fn inherited(parents: &Self) -> Self {
        let mut entries = match parents.entries.try_lock() {
            Ok(entries) => entries.clone(),
            Err(_) => HashMap::new(),
        };
        entries.values_mut().for_each(|entry| entry.connection = 0);
        Self { entries: Mutex::new(entries) }
    }

    /// Counts one more proxy if there is one already, and returns `true`. Then the caller has nothing to request:
    /// another thread has done it or is doing it, or the next connection will.
    pub(crate) fn add_another(&self, object: ObjectId) -> bool {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(&object) else { return false };
        entry.count = entry.count.saturating_add(1);
        true
    }

    /// Counts one more proxy. Returns `true` if the caller has to request the reference on this connection.
    pub(crate) fn add(&self, object: ObjectId, connection: u64) -> bool {
        let mut entries = self.lock();
        let entry =
            entries.entry(object).or_insert_with(|| Entry { count: 0, connection: 0, forks: forks() });
        entry.count = entry.count.saturating_add(1);
        entry.claim(connection)
    }

    /// Returns `true` if the caller has to request the reference on this connection. Counts nothing.
    pub(crate) fn claim(&self, object: ObjectId, connection: u64) -> bool {
        self.lock().get_mut(&object).is_some_and(|entry| entry.claim(connection))
    }

    /// Counts one proxy less. Returns what to release if it was the last.
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

    /// Returns all objects that this process has proxies of, which a new connection has to request.
    pub(crate) fn ask_for_all(&self, connection: u64) -> Vec<ObjectId> {
        let mut entries = self.lock();
        entries.values_mut().for_each(|entry| entry.connection = connection);
        entries.keys().copied().collect()
    }

    /// Returns those of `objects` that this process has no proxy of.
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
    fn add_reports_the_first_proxy_and_remove_the_last() {
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
    fn a_new_connection_requests_each_reference_once_and_an_old_one_does_not() {
        let references = References::default();
        let (one, other) = (ObjectId(1), ObjectId(2));
        assert!(references.add(one, 1));
        assert_eq!(references.ask_for_all(2), [one]);
        assert!(!references.claim(one, 2), "all references were requested");
        assert!(references.add(other, 1), "the caller has seen this connection only");
        assert!(references.claim(other, 2), "that connection was not the newest");
        assert!(!references.claim(other, 1));
        assert_eq!(references.remove(other), Some(Last { connection: 2, may_be_inherited: false }));
    }

    #[test]
    fn a_child_starts_with_no_requested_references() {
        let references = References::default();
        references.add(ObjectId(1), 5);
        let childs = References::inherited(&references);
        assert!(childs.claim(ObjectId(1), 1));
        let guard = references.lock();
        assert_eq!(
            References::inherited(&references).ask_for_all(1),
            [],
            "another thread was using the table"
        );
        drop(guard);
    }
}

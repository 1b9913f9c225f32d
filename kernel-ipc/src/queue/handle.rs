//! What every handle of a queue supports besides putting and getting: polling, cloning, sending and `Debug`.

use std::any::type_name;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use mp_sys::line::Count;
use mp_sys::named::fingerprint;
use mp_sys::robust::Patience;
use mp_sys::wire;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::queue::Queue;
use crate::queue::config::Wanted;
use crate::queue::travel::{self, Shared};

impl<T: DeserializeOwned> Queue<T> {
    /// Makes a handle. In debug builds, it checks that every item it puts can be decoded again.
    pub(super) fn over(core: Arc<Shared>) -> Self {
        let _known = core.decodes.set(wire::decodes::<T>());
        Self { core, items: PhantomData }
    }
}

impl<T> Queue<T> {
    pub(super) fn fingerprint() -> u64 {
        // Items are encoded, so their layout in memory does not matter.
        fingerprint("item", 0, 0, type_name::<T>())
    }

    pub(super) fn wanted(has_leases: bool) -> Wanted {
        Wanted { fingerprint: Self::fingerprint(), has_leases }
    }
}

impl<T> AsFd for Queue<T> {
    /// Returns a descriptor for `poll` and `epoll`. It is readable while there is an item in the queue, or the queue is
    /// closed. Do not read from it.
    ///
    /// The descriptor may be readable although there is no item, since another process may have taken it first. In that
    /// case [`try_get`](Self::try_get) makes it unreadable.
    ///
    /// After the first call in any process, each change from empty to filled and back costs a system call.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.core.event(Patience::None)
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core), items: PhantomData }
    }
}

/// A queue travels inside a message of a [`pipe`](crate::pipe()) or [`Connection`](crate::Connection), and arrives as
/// another handle of the same queue. Encoding it elsewhere, for example in an item of a queue, is an error that says so.
impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        travel::serialize(&self.core, serializer)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        travel::deserialize(Self::wanted(false), deserializer).map(Self::over)
    }
}

impl<T> std::fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.show("Queue", "item", f)
    }
}

impl<T> Queue<T> {
    /// Shows the number of items, the capacity, and whether the queue is closed. It takes no lock.
    pub(super) fn show(
        &self,
        name: &str,
        item: &'static str,
        f: &mut std::fmt::Formatter<'_>,
    ) -> std::fmt::Result {
        write!(f, "{name}({}", Count(self.len(), item))?;
        if let Some(capacity) = self.capacity() {
            write!(f, " of {capacity}")?;
        }
        f.write_str(if self.is_closed() { ", closed)" } else { ")" })
    }
}

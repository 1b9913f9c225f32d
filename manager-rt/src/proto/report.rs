//! What a manager reports about itself, its clients, its objects and their waiters.
//!
//! Times are durations up to the report, so the clocks of two hosts need not agree.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::proto::{Kind, ObjectId};

/// The server of a manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServerReport {
    /// The version of the package that the server was built from.
    pub version: String,
    /// The number of its process.
    pub pid: u32,
    /// How long it has been serving.
    pub uptime: Duration,
    /// The memory that everything takes, in bytes.
    pub memory_used: u64,
    /// The most memory that everything may take, in bytes, without the reserve for answers.
    pub memory_max: u64,
    /// The number of connected clients.
    pub clients: u64,
    /// The most clients that can be connected.
    pub clients_max: u64,
    /// The number of objects.
    pub objects: u64,
    /// The number of waiting calls.
    pub waiters: u64,
    /// The number of held locks, permits and leases.
    pub held: u64,
    /// How many operations were finished so far, of all clients. A transaction counts once.
    pub operations: u64,
    /// How many times the objects could not be saved to the file in which they are kept.
    pub failed_saves: u64,
    /// How long ago the objects were saved to that file, if this server has saved them.
    pub last_save: Option<Duration>,
}

/// Where a client is, as far as the server knows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClientOrigin {
    /// The process, if it is on the server's host, and visible there.
    pub pid: Option<u32>,
    /// The name of the process, as the kernel named it when it connected: `/proc/PID/comm`. Characters that a terminal would
    /// interpret may be in it.
    pub program: Option<String>,
    /// The address and the port of a client that came over a network.
    pub address: Option<String>,
}

/// A connected client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClientReport {
    /// The number of the connection, which no other one of this server has or had.
    pub number: u64,
    /// Where it is.
    pub origin: ClientOrigin,
    /// How long it has been connected.
    pub connected_for: Duration,
    /// How many of its operations were finished. A transaction counts once.
    pub operations: u64,
    /// The number of its waiting calls.
    pub waiting: u64,
    /// The number of objects to which it has references.
    pub references: u64,
    /// What is kept for it as a client, in bytes. What it stored belongs to the objects.
    pub bytes: u64,
}

/// Who holds a lock, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LockHolder {
    /// The number of the client's connection.
    pub client: u64,
    /// The number of the thread in that process, counted from 1. A lock that a task of an async runtime holds has a number of its
    /// own instead.
    pub thread: u64,
    /// The number of the grant among those of the lock.
    pub token: u64,
    /// How many times a reentrant lock was taken.
    pub depth: u64,
    /// How long the lock has been held.
    pub held_for: Duration,
    /// The rest of the lease, if there is one.
    pub lease_left: Option<Duration>,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ObjectReport {
    /// Its number, which no other object of this server has or had.
    pub id: ObjectId,
    /// What it is.
    pub kind: Kind,
    /// The fingerprint of its type, by which programs recognise it. It is the same in every build.
    pub print: u64,
    /// Its name, if it has one. Characters that a terminal would interpret may be in it.
    pub name: Option<String>,
    /// The number of items, entries, elements or attributes; of a semaphore, the number of free permits.
    pub len: Option<u64>,
    /// The memory that it takes, including its values, in bytes.
    pub bytes: u64,
    /// Whether `bytes` is an estimate: it has too many values to look at all of them.
    pub is_estimate: bool,
    /// The number of references: of clients, values, messages on their way, and of its name.
    pub references: u64,
    /// The number of calls that wait for it.
    pub waiters: u64,
    /// The number of locks, permits and leases of it that are held.
    pub held: u64,
    /// The holder of a lock.
    pub holder: Option<LockHolder>,
}

/// What a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitFor {
    /// A lock.
    Lock,
    /// A permit of a semaphore.
    Permit,
    /// A notification of a condition.
    Notification,
    /// The setting of an event.
    Flag,
    /// Room for items in a queue.
    Room,
    /// Items of a queue.
    Items,
    /// The end of all tasks of a queue.
    AllDone,
    /// The other parties of a barrier.
    Parties,
}

/// A waiting call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WaitReport {
    /// The number of the wait, which no other one of this server has or had.
    pub number: u64,
    /// The number of the client's connection.
    pub client: u64,
    /// The number of the thread in that process: see [`LockHolder::thread`].
    pub thread: u64,
    /// The object for which it waits.
    pub object: ObjectId,
    /// The kind of the object.
    pub kind: Kind,
    /// The name of the object, if it has one.
    pub name: Option<String>,
    /// What it waits for.
    pub wait_for: WaitFor,
    /// How long it has been waiting.
    pub waited: Duration,
    /// How long it will wait at most, if there is a limit.
    pub time_left: Option<Duration>,
    /// The holder of the lock for which it waits.
    pub holder: Option<LockHolder>,
}

#[cfg(feature = "server")]
impl ServerReport {
    /// Returns the memory that the report takes, in bytes.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>().saturating_add(self.version.len())
    }
}

/// What is a part of a page.
#[cfg(feature = "server")]
pub(crate) trait Paged {
    /// Returns the memory that it takes, in bytes.
    fn memory(&self) -> usize;
}

/// Returns the length of a text.
#[cfg(feature = "server")]
fn len_of(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

#[cfg(feature = "server")]
impl Paged for ClientReport {
    fn memory(&self) -> usize {
        let ClientOrigin { program, address, .. } = &self.origin;
        size_of::<Self>().saturating_add(len_of(program.as_ref())).saturating_add(len_of(address.as_ref()))
    }
}

#[cfg(feature = "server")]
impl Paged for ObjectReport {
    fn memory(&self) -> usize {
        size_of::<Self>().saturating_add(len_of(self.name.as_ref()))
    }
}

#[cfg(feature = "server")]
impl Paged for WaitReport {
    fn memory(&self) -> usize {
        size_of::<Self>().saturating_add(len_of(self.name.as_ref()))
    }
}

/// Returns the memory that the items of a page take, in bytes.
#[cfg(feature = "server")]
pub(super) fn memory_of<T: Paged>(items: &[T]) -> usize {
    items.iter().map(T::memory).fold(0, usize::saturating_add)
}

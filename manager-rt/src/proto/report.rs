//! What a manager reports about itself and its clients.
//!
//! Times are durations up to the report, so the clocks of two hosts need not agree.

use std::time::Duration;

use serde::{Deserialize, Serialize};

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

impl ServerReport {
    /// Returns the memory that the report takes, in bytes.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>().saturating_add(self.version.len())
    }
}

/// What is a part of a page.
pub(crate) trait Paged {
    /// Returns the memory that it takes, in bytes.
    fn memory(&self) -> usize;
}

/// Returns the length of a text.
fn len_of(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

impl Paged for ClientReport {
    fn memory(&self) -> usize {
        let ClientOrigin { program, address, .. } = &self.origin;
        size_of::<Self>().saturating_add(len_of(program.as_ref())).saturating_add(len_of(address.as_ref()))
    }
}

/// Returns the memory that the items of a page take, in bytes.
pub(super) fn memory_of<T: Paged>(items: &[T]) -> usize {
    items.iter().map(T::memory).fold(0, usize::saturating_add)
}

//! [`Room`]: which limit of a manager's memory has been reached.

use std::fmt;

/// A part of a manager's memory that has a limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Room {
    /// All of the memory: `memory_bytes_max`.
    Memory,
    /// The memory with the reserve above it, which is for clients, waiting calls and references.
    Reserve,
    /// The frames of all clients that have not arrived completely.
    Frames,
    /// The sequences of one frame, once they are decoded.
    Decoded,
    /// The answers that all clients have not read.
    Answers,
    /// What one client may hold at the same time.
    Client,
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "the memory of the manager",
            Self::Reserve => "the memory of the manager with its reserve",
            Self::Frames => "the memory for unfinished frames",
            Self::Decoded => "the memory for one decoded frame",
            Self::Answers => "the memory for unread answers",
            Self::Client => "the share of this client",
        })
    }
}

/// There is no memory for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    /// The limit that would be exceeded.
    pub(crate) room: Room,
    /// Its value, in bytes.
    pub(crate) limit: usize,
    /// How many bytes more were asked for.
    pub(crate) asked: usize,
}

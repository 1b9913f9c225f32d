//! The types of one step of the state machine: what goes in, and what comes out.

use bytes::Bytes;

use crate::limits::{CLIENTS_MAX_DEFAULT, MEMORY_BYTES_DEFAULT};
use crate::proto::{Answer, Fault, Payload, Reply};

/// How much a manager may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes that all values may take, including their containers.
    pub memory_bytes: usize,
    /// The most connections.
    pub clients: usize,
    /// The most bequests: what processes that forked left to their children.
    pub bequests: usize,
    /// The most bytes that may be kept for one client, apart from what it stores. By default, a part of `memory_bytes`:
    /// see [`CLIENT_SHARE`](crate::limits::CLIENT_SHARE).
    pub client_memory_bytes: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: MEMORY_BYTES_DEFAULT,
            clients: CLIENTS_MAX_DEFAULT,
            bequests: CLIENTS_MAX_DEFAULT,
            client_memory_bytes: None,
        }
    }
}

/// An answer for a client.
#[derive(Debug, PartialEq)]
pub struct Answered {
    /// The client.
    pub client: ClientId,
    /// The number of the call.
    pub call: u64,
    /// The answer.
    pub answer: Answer<Payload>,
    /// The answers to the calls whose numbers follow, which are sent in one frame with it.
    pub more: Vec<Answer<Payload>>,
    /// The names that the answer lists, if they were encoded in steps. The answer itself is then without them.
    pub names: Option<Box<EncodedNames>>,
}

impl Answered {
    /// Returns the answer with everything that belongs to it.
    pub fn into_answer(self) -> Answer<Payload> {
        match self.names {
            Some(names) => Ok(Reply::Names(names.decode())),
            None => self.answer,
        }
    }
}

/// All names, encoded as in a [`Reply::Names`], without their number.
#[derive(Debug, Default, PartialEq)]
pub struct EncodedNames {
    /// The number of names.
    pub(crate) count: u64,
    /// The encoded names, each in one of these.
    pub(crate) pages: Vec<Bytes>,
}

impl EncodedNames {
    /// Returns the names.
    #[must_use]
    pub fn decode(&self) -> Vec<String> {
        let mut names = Vec::new();
        for page in &self.pages {
            let mut rest = &**page;
            while let Ok((name, behind)) = postcard::take_from_bytes(rest) {
                names.push(name);
                rest = behind;
            }
        }
        names
    }
}

/// The result of a step of the state machine.
#[derive(Debug, Default)]
pub struct Effects {
    /// Answers, in the order in which they have to be written.
    pub answers: Vec<Answered>,
}

/// The context of a call.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The client that calls.
    pub client: ClientId,
    /// The number of the call, which the answer repeats.
    pub call: u64,
    /// The current time, in nanoseconds.
    pub now: u64,
    /// The memory that holds the operation's values, if a long value may keep it.
    pub frame: &'a Bytes,
    /// Whether everything that had arrived before this call is done, including the ends of clients.
    pub is_settled: bool,
}

/// The end of a client.
#[derive(Debug, Clone, Copy)]
pub struct Departure {
    /// The client that has ended.
    pub client: ClientId,
    /// The current time, in nanoseconds.
    pub now: u64,
    /// The number of the first answer that nobody has, counted from 0, apart from those whose reading the client reported.
    pub unread: u64,
    /// The number of the first answer that the client may not have read, apart from those whose reading it reported.
    pub doubtful: u64,
}

/// What the claim of a bequest finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// The bequest, which the connection has until it [disconnects](super::State::disconnect).
    Heirs(ClientId),
    /// The bequest was refused for this reason.
    Refused(Fault),
    /// There is none with this number yet, or another connection has it.
    Nothing,
}

/// What happened to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It was answered, or it waits.
    Done,
    /// Nothing was done. The answer depends on what other clients hold, so repeat the call, settled, once everything
    /// that has arrived is done, including the ends of clients: a process that has seen another one end must not find
    /// what that one held. Or earlier calls are not finished, so repeat the call after [`State::tidy`](super::State::tidy).
    Unsettled,
    /// Of several calls in one frame, this many were answered, and the others are as many bytes at the end of the frame.
    Partly {
        /// The calls that were answered.
        done: u16,
        /// The bytes of the others.
        left: usize,
    },
}

/// The number of a connection. It is never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId {
    pub(super) slot: usize,
    pub(super) serial: u64,
}

impl ClientId {
    /// Returns a small number, which a later connection may reuse.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.slot
    }

    /// Returns the number of the connection, which no other one has.
    pub(super) const fn serial(self) -> u64 {
        self.serial
    }
}

/// What has happened since the manager began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Changes {
    /// How many operations were finished.
    pub(crate) operations: u64,
    /// How many clients have ended. Items that they did not read are in their queues again.
    pub(crate) endings: u64,
}

//! The seam for engines: whatever runs operations is a [`Backend`].
//!
//! A proxy knows an object's id and a backend, nothing else. The server process is one backend, a state machine in the
//! same process another; the same conformance tests run over all of them.

use std::fmt;

use crate::OsError;
use crate::proto::frame::{Answer, Step, Wait};
use crate::proto::{Fault, ManagerOp, ObjectId, Op, Payload, Raw, Reply};

/// Why a call gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The operation was refused, and changed nothing.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// There is no server, so nothing was asked.
    #[error("the manager's server is gone")]
    ServerGone,
    /// The server went, or did not answer in time, while the operation was under way: it was done or not.
    #[error("the manager's server did not answer: the operation may or may not have happened")]
    OutcomeUnknown,
    /// The server is another one than that which had the object: it was started again.
    #[error("the manager's server was restarted: its objects are gone")]
    Restarted,
    /// The server does not accept this process: another user, or another key.
    #[error("the manager's server refused this process")]
    Unauthorised,
    /// The objects are in the memory of a process that forked this one, which has a copy only.
    #[error(
        "the manager's objects are in the memory of the parent process: objects for several processes need a manager that \
         was started (Manager::start)"
    )]
    Forked,
    /// The server says what no server of this version says.
    #[error("the manager's server does not speak this version of the protocol")]
    Protocol,
    /// The system refused.
    #[error(transparent)]
    System(#[from] OsError),
}

/// What a backend can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caps {
    /// Its name, for messages.
    pub name: &'static str,
    /// Several operations can be one.
    pub transactions: bool,
    /// Waiting calls are served in the order in which they came.
    pub fair: bool,
    /// The longest value, in bytes.
    pub value_bytes_max: usize,
}

/// Something that runs operations.
///
/// Calls come from any thread and process; one that waits holds up no other. Locks and the like belong to the calling
/// thread of the calling process.
pub trait Backend: Send + Sync + fmt::Debug {
    /// What it can do.
    fn caps(&self) -> Caps;

    /// Runs one operation.
    ///
    /// # Errors
    /// [`CallError`].
    fn call(&self, object: ObjectId, op: Op<Raw<'_>>, wait: Wait) -> Result<Reply<Payload>, CallError>;

    /// Runs several operations, one after the other, and gives each one's answer: sent together, not atomic.
    ///
    /// # Errors
    /// [`CallError`], but no fault of an operation.
    fn pipeline(&self, steps: Vec<Step<Raw<'_>>>) -> Result<Vec<Answer<Payload>>, CallError>;

    /// Runs several operations as one: all of them, or, if any is refused, none.
    ///
    /// # Errors
    /// [`CallError`]: the first fault.
    fn transaction(&self, steps: Vec<Step<Raw<'_>>>) -> Result<Vec<Reply<Payload>>, CallError>;

    /// Tells something that nobody waits for the answer to. Never waits long, and never fails aloud.
    fn notice(&self, op: ManagerOp<Raw<'_>>);

    /// Says that this process has a proxy more of an object, without a call if it had one before.
    ///
    /// # Errors
    /// [`CallError`].
    fn attach(&self, object: ObjectId) -> Result<(), CallError>;

    /// Says that the server counted a reference for this process already, with an answer.
    fn adopt(&self, object: ObjectId);

    /// Says that this process has a proxy less of an object.
    fn detach(&self, object: ObjectId);

    /// Which life of the manager this is: a random number.
    fn epoch(&self) -> u128;

    /// Where other processes reach it, if they can.
    fn address(&self) -> Option<String>;

    /// Ends the connection as the death of this process would: for tests of what the others see.
    #[doc(hidden)]
    fn sever(&self);
}

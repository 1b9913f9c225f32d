//! The interface to an engine: everything that runs operations is a [`Backend`].
//!
//! A proxy knows only an object's id and a backend. One backend is the server process, another is a state machine in
//! the same process. The same conformance tests run over all of them.

mod caps;
mod grants;
mod warning;

use std::fmt;
#[cfg(feature = "tokio")]
use std::sync::Arc;

pub use self::caps::{Caps, Death, Kinds, References};
pub(crate) use self::grants::run;
pub use self::grants::{Change, Grants, OnLost, Validity};
pub use self::warning::Warning;
#[cfg(feature = "tokio")]
use mp_sys::asynchronous::RuntimeError;
use mp_sys::handshake::Versions;

use crate::OsError;
pub(crate) use crate::address::without_password;
use crate::proto::{Answer, Call, Disinherited, Fault, Kind, ObjectId, Payload, Raw, Reply, Step, Table};
use crate::wire::recorded::Recorded;

/// Why a call returned no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The operation was refused, and changed nothing.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// There is no server, so the operation did not start.
    #[error("the manager's server is gone")]
    ServerGone,
    /// The server ended, or did not answer in time, while the operation was under way. It may or may not have happened.
    #[error("the manager's server did not answer: the operation may or may not have happened")]
    OutcomeUnknown,
    /// The server was restarted, so it no longer has the object.
    #[error("the manager's server was restarted: its objects are gone")]
    Restarted,
    /// The server does not accept this process, which belongs to another user or has another key.
    #[error("the manager's server refused this process")]
    Unauthorised,
    /// The objects are in the memory of the parent process. This forked child has only a copy.
    #[error(
        "the manager's objects are in the memory of the parent process: objects for several processes need a manager that \
         was started (Manager::start)"
    )]
    Forked,
    /// The server sent something that no server sends.
    #[error("the manager's server does not speak the protocol of managers")]
    Protocol,
    /// The operating system refused.
    #[error(transparent)]
    System(#[from] OsError),
    /// The manager's engine cannot do this, as its [`Caps`] say. Nothing was sent.
    #[error("the backend `{backend}` does not support {what} ({kind})")]
    Unsupported {
        /// The kind of the object, or [`Kind::Manager`] for what concerns several objects.
        kind: Kind,
        /// What was requested.
        what: &'static str,
        /// The [name](Caps::name) of the backend.
        backend: &'static str,
    },
    /// The server and this build know no common version of the protocol: one of them is too old. Nothing was sent.
    #[error(
        "the manager's server knows version {theirs} of the protocol, and this build knows version {ours}"
    )]
    NoCommonVersion {
        /// The versions that this build knows.
        ours: Versions,
        /// The versions that the server knows.
        theirs: Versions,
    },
    /// An async task cannot wait here. Nothing was sent.
    #[cfg(feature = "tokio")]
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The server is too old for this operation. Nothing was sent.
    #[error(
        "the operation needs version {needs} of the protocol, and the manager's server uses version {agreed}: upgrade \
         the server"
    )]
    NeedsVersion {
        /// The version of the protocol that introduced the operation.
        needs: u16,
        /// The version on which both sides agreed.
        agreed: u16,
    },
    /// This forked child inherited the object, and it ended before the child used it: when the process forked, the manager
    /// did not keep the object for the child.
    #[error("{object} has ended before this forked process used it: at the fork, {why}")]
    NotInherited {
        /// The object.
        object: ObjectId,
        /// Why the manager did not keep it.
        why: Disinherited,
    },
    /// RabbitMQ has had nothing of some unfinished tasks for a minute, or for 31 minutes of tasks that a process had: it has lost them, or
    /// dropped them from its failed tasks. They stay unfinished until the queue is removed, or RabbitMQ delivers them after all.
    #[error("RabbitMQ does not have some of the unfinished tasks any more: remove the queue, or find them")]
    TasksLost,
    /// The server's answer contains a number that this build does not know. The operation may have happened. The
    /// connection was ended, and what this process held is released.
    #[error(
        "this build, which knows versions of the protocol up to {ours}, does not know number {number} of {table}, which \
         the manager's server sent, a server of version {theirs}"
    )]
    UnknownAnswer {
        /// The table that does not contain it.
        table: Table,
        /// The number.
        number: u32,
        /// The newest version that this build knows.
        ours: u16,
        /// The newest version that the server knows.
        theirs: u16,
    },
}

impl CallError {
    /// Says that a backend cannot do something.
    pub(crate) const fn unsupported(caps: &Caps, kind: Kind, what: &'static str) -> Self {
        Self::Unsupported { kind, what, backend: caps.name }
    }
}

/// The future of an operation.
#[cfg(feature = "tokio")]
pub type Pending = std::pin::Pin<Box<dyn Future<Output = Result<Reply<Payload>, CallError>> + Send>>;

/// An engine that runs operations.
///
/// Any thread of any process may call it. A call that waits does not block other calls. Permits and tasks belong to the
/// process that calls. Locks belong to one of its threads, whose number comes with each call: a backend never asks which
/// thread runs it, so a wrapper may run its calls elsewhere.
pub trait Backend: Send + Sync + fmt::Debug {
    /// Returns what the backend can do.
    fn caps(&self) -> Caps;

    /// Runs one operation.
    ///
    /// # Errors
    /// [`CallError`].
    fn call(&self, call: Call<Raw<'_>>) -> Result<Reply<Payload>, CallError>;

    /// Begins one operation, and returns the future that runs it without blocking the thread that polls it. Dropping the
    /// future gives the operation up: what it takes or waits for is left as if it had never been called.
    ///
    /// By default, the future returns [`CallError::Unsupported`], and nothing was sent. [`Caps`] do not say whether a backend
    /// has this: a wrapper that passes the `Caps` of its engine on, and does not have this method, would promise what it does
    /// not do.
    #[cfg(feature = "tokio")]
    fn call_async(self: Arc<Self>, _call: Call<Raw<'_>>) -> Pending {
        let unsupported = CallError::unsupported(&self.caps(), Kind::Manager, "calls of async tasks");
        Box::pin(std::future::ready(Err(unsupported)))
    }

    /// Runs an operation that releases something, as [`call`](Self::call) does, but does not wait for its answer.
    #[cfg(feature = "tokio")]
    fn post(&self, call: Call<Raw<'_>>) {
        if let Err(error) = self.call(call) {
            tracing::debug!(%error, "a call without an answer failed");
        }
    }

    /// Runs several operations of a thread one after another, and returns the answer to each. They are sent together, but
    /// are not atomic. None of them waits.
    ///
    /// # Errors
    /// [`CallError`], but not the fault of a single operation.
    fn pipeline(&self, thread: u64, steps: Vec<Step<Raw<'_>>>) -> Result<Vec<Answer<Payload>>, CallError>;

    /// Begins a pipeline whose first operations are sent while later ones are still recorded, or returns `None`, as it
    /// does by default. Then all operations are recorded first, and run by [`pipeline`](Self::pipeline).
    fn open_pipeline(&self) -> Option<Box<dyn OpenPipeline + '_>> {
        None
    }

    /// Runs several operations of a thread as one: either all are done, or, if any is refused, none. By default, the backend
    /// has no [transactions](Caps::transactions).
    ///
    /// # Errors
    /// [`CallError`]: the first fault.
    fn transaction(
        &self,
        _thread: u64,
        _steps: Vec<Step<Raw<'_>>>,
    ) -> Result<Vec<Reply<Payload>>, CallError> {
        Err(CallError::unsupported(&self.caps(), Kind::Manager, "transactions"))
    }

    /// Keeps an object alive for [`TRANSIT_GRACE`](crate::limits::TRANSIT_GRACE), because a proxy of it leaves in a
    /// message. Once this returns, that is certain, even if this process is killed at once. By default, does nothing: objects of a
    /// backend without [references](Caps::references) stay alive.
    ///
    /// # Errors
    /// [`CallError`]. Then the message is not sent.
    fn transit(&self, _object: ObjectId) -> Result<(), CallError> {
        Ok(())
    }

    /// Counts one more proxy of an object in this process. Calls the manager only if there was none before.
    ///
    /// # Errors
    /// [`CallError`].
    fn attach(&self, object: ObjectId) -> Result<(), CallError>;

    /// Takes over a reference that the server already counted for this process when it answered. By default, does nothing.
    fn adopt(&self, _object: ObjectId) {}

    /// Counts one proxy less of an object in this process. By default, does nothing.
    fn detach(&self, _object: ObjectId) {}

    /// Returns whether a lock or permit that was granted to this process with a token is still held, as far as this
    /// process knows. Never calls the manager, but may ask the operating system about the connection. [`Grants`] keeps
    /// the record for this.
    fn validity(&self, object: ObjectId, token: u64) -> Validity;

    /// Runs `lost` once if this process finds out that a lock or permit was lost before it was released, and at once if
    /// it is lost already.
    fn watch(&self, object: ObjectId, token: u64, lost: OnLost);

    /// Returns what the users of the engine should know about its settings, as they were when it was reached. By default, that
    /// is nothing.
    fn warnings(&self) -> Vec<Warning> {
        Vec::new()
    }

    /// Returns the epoch, a random number that identifies this life of the manager.
    fn epoch(&self) -> u128;

    /// Returns the address at which other processes reach the manager, if there is one. It travels in messages and
    /// appears in `Debug`, so it must not contain a password, a key or a token, in any part. The one place of URLs for
    /// passwords is checked: what stands between `//user:` and `@host` is removed before an address is used.
    fn address(&self) -> Option<String>;
}

/// A pipeline that is sent in portions: see [`Backend::open_pipeline`].
///
/// An operation that takes something, such as an item of a queue, is part of the last portion. If the pipeline is dropped
/// before it is finished, the operations that were sent are done, and the references in their answers are released.
pub trait OpenPipeline: fmt::Debug {
    /// Sends operations, which follow those of earlier portions. Does not wait for their answers.
    ///
    /// # Errors
    /// [`CallError`], but not the fault of a single operation. Nothing more can be sent then.
    fn send(&mut self, portion: &mut Recorded) -> Result<(), CallError>;

    /// Sends the last operations, and returns the answers to all operations in order.
    ///
    /// # Errors
    /// As for [`Backend::pipeline`].
    fn finish(self: Box<Self>, last: &mut Recorded) -> Result<Vec<Answer<Payload>>, CallError>;
}

/// Returns the address of a backend, as it may travel and be shown.
pub(crate) fn address_of(backend: &dyn Backend) -> Option<String> {
    backend.address().map(|address| without_password(&address))
}

//! [`Handle`]: what every proxy consists of, an object's id and a backend that knows the object.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mp_sys::identity::thread_number;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::{Backend, CallError, Caps};
use crate::error::ObjectError;
use crate::proto::{
    Call, JoinableQueueOp, Kind, ManagerOp, ObjectId, Op, Payload, QueueOp, Raw, Reply, Spec, Wait,
};
use crate::proxy::codec::{self, Values};
use crate::proxy::{Proxy, read};

/// A counted reference to an object.
pub(crate) struct Handle {
    backend: Arc<dyn Backend>,
    id: ObjectId,
    /// `false` if the backend refused, as it does in a forked child. Then there is nothing to release.
    is_counted: bool,
}

/// Makes an object, or finds or makes the one with this name.
///
/// # Errors
/// [`ObjectError`].
pub(crate) fn make<P: Proxy>(
    backend: &Arc<dyn Backend>,
    name: Option<&str>,
    spec: Spec<Raw<'_>>,
) -> Result<P, ObjectError> {
    let caps = backend.caps();
    if !caps.kinds.contains(P::KIND) {
        return Err(CallError::unsupported(&caps, P::KIND, "objects of this kind").into());
    }
    let print = P::print();
    let op = match name {
        None => ManagerOp::Create { spec, print },
        Some(name) => ManagerOp::Open { name: name.to_owned(), spec, print },
    };
    let thread = thread_number();
    let call = Call { object: ObjectId::MANAGER, thread, wait: Wait::No, op: Op::Manager(op) };
    match backend.call(call)? {
        Reply::Object { id, .. } => Ok(P::over(Handle::adopt(backend, id))),
        _ => Err(CallError::Protocol.into()),
    }
}

impl Handle {
    /// Takes over a reference that the manager counted when it answered.
    pub(crate) fn adopt(backend: &Arc<dyn Backend>, id: ObjectId) -> Self {
        backend.adopt(id);
        Self { backend: Arc::clone(backend), id, is_counted: true }
    }

    /// Requests a reference from the manager.
    ///
    /// # Errors
    /// [`CallError`]; [`Fault::UnknownObject`](crate::proto::Fault::UnknownObject) if the object has ended.
    pub(crate) fn attach(backend: &Arc<dyn Backend>, id: ObjectId) -> Result<Self, CallError> {
        backend.attach(id)?;
        Ok(Self { backend: Arc::clone(backend), id, is_counted: true })
    }

    pub(crate) const fn id(&self) -> ObjectId {
        self.id
    }

    /// Returns `true` if this process has a reference to the object.
    pub(crate) const fn is_counted(&self) -> bool {
        self.is_counted
    }

    pub(crate) const fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Starts an empty buffer of values for an operation on this object.
    pub(super) fn values(&self) -> Values {
        Values::of(&*self.backend)
    }

    /// Checks that several items can be put in one call.
    ///
    /// # Errors
    /// [`CallError::Unsupported`].
    pub(super) fn check_put_many(&self, kind: Kind) -> Result<(), CallError> {
        let caps = self.backend.caps();
        if caps.atomic_put_many || caps.puts_many {
            return Ok(());
        }
        Err(CallError::unsupported(&caps, kind, "putting several items in one call"))
    }

    /// Checks that the backend promises what an operation of a queue needs.
    ///
    /// # Errors
    /// [`CallError::Unsupported`].
    pub(super) fn check(&self, op: &Op<Raw<'_>>) -> Result<(), CallError> {
        let (is_promised, kind, what): (fn(&Caps) -> bool, _, _) = match op {
            Op::Queue(QueueOp::Close) => (|caps| caps.closes, Kind::Queue, "closing"),
            Op::JoinableQueue(JoinableQueueOp::Close) => (|caps| caps.closes, Kind::JoinableQueue, "closing"),
            Op::JoinableQueue(JoinableQueueOp::Unfinished) => {
                (|caps| caps.joins, Kind::JoinableQueue, "counting unfinished tasks")
            }
            Op::JoinableQueue(JoinableQueueOp::Join) => {
                (|caps| caps.joins, Kind::JoinableQueue, "waiting for the end of all tasks")
            }
            _ => return Ok(()),
        };
        let caps = self.backend.caps();
        if is_promised(&caps) { Ok(()) } else { Err(CallError::unsupported(&caps, kind, what)) }
    }

    /// Runs an operation.
    ///
    /// # Errors
    /// [`CallError`].
    pub(super) fn call(&self, op: Op<Raw<'_>>, wait: Wait) -> Result<Reply<Payload>, CallError> {
        self.check(&op)?;
        self.backend.call(Call { object: self.id, thread: thread_number(), wait, op })
    }

    /// Runs an operation that does not wait, and decodes its answer.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub(super) fn ask<R>(&self, op: Op<Raw<'_>>, read: Read<R>) -> Result<R, ObjectError> {
        read(&self.backend, self.call(op, Wait::No)?)
    }

    /// Like [`ask`](Self::ask), for an operation with one value.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub(super) fn ask_with<T: Serialize + ?Sized, R>(
        &self,
        value: &T,
        op: impl FnOnce(Raw<'_>) -> Op<Raw<'_>>,
        read: Read<R>,
    ) -> Result<R, ObjectError> {
        let mut values = self.values();
        let number = values.add(value)?;
        self.ask(op(values.raw(number)), read)
    }

    /// Replaces a value with the result of `change`, retrying as often as another caller was faster, and returns the
    /// previous value. `get` reads the value, and `exchange` replaces an expected value with a new one.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub(super) fn update<T: Serialize + DeserializeOwned>(
        &self,
        get: Op<Raw<'_>>,
        exchange: impl for<'r> Fn(Raw<'r>, Raw<'r>) -> Op<Raw<'r>>,
        mut change: impl FnMut(T) -> T,
    ) -> Result<T, ObjectError> {
        let mut reply = self.call(get, Wait::No)?;
        loop {
            let (Reply::Value(found) | Reply::Found(Some(found))) = reply else {
                return read::unexpected(&self.backend, &reply);
            };
            let previous = codec::take(&self.backend, &found)?;
            // Decoded a second time, since not every type can be cloned. The first copy keeps the objects inside alive.
            let current = codec::look(&self.backend, found.raw())?;
            let mut values = self.values();
            let new = values.add(&change(current))?;
            reply = self.call(exchange(found.raw(), values.raw(new)), Wait::No)?;
            if reply == Reply::Bool(true) {
                return Ok(previous);
            }
        }
    }
}

/// A function that decodes an answer.
pub(crate) type Read<R> = fn(&Arc<dyn Backend>, Reply<Payload>) -> Result<R, ObjectError>;

impl Clone for Handle {
    fn clone(&self) -> Self {
        // This process already has a reference, so the next one is only counted here.
        let is_counted = self.backend.attach(self.id).is_ok();
        Self { backend: Arc::clone(&self.backend), id: self.id, is_counted }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.is_counted {
            self.backend.detach(self.id);
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)
    }
}

/// Converts a timeout. `Duration::MAX`, and any time that does not fit, means for ever.
pub(super) fn within(timeout: Duration) -> Wait {
    u64::try_from(timeout.as_nanos()).map_or(Wait::Forever, Wait::For)
}

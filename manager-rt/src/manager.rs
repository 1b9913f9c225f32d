//! [`Manager`]: makes and finds objects.

mod connect;
mod makers;
mod named;
mod report;
mod snapshot;
#[cfg(feature = "server")]
mod start;
mod travel;

use std::fmt;
use std::sync::Arc;

use mp_sys::identity::thread_number;
use mp_sys::line::Short;
use serde::Serialize;

pub use self::connect::ManagerBuilder;
#[cfg(all(feature = "redis", feature = "rabbitmq"))]
pub use self::connect::MixedBuilder;
use self::makers::makers;
pub use self::named::Named;
pub use self::snapshot::SnapshotError;

use crate::backend::{Backend, CallError};
use crate::batch::{self, Batch, Tickets};
use crate::count::count_of;
use crate::error::{ObjectError, TransactionError};
use crate::limits::{CAPACITY_MAX, ELEMENTS_AT_ONCE, MAX_DELIVERIES_DEFAULT, VALUES_AT_ONCE_MAX};
#[cfg(feature = "server")]
use crate::process::ServerProcess;
use crate::proto::{Call, Fault, Info, ManagerOp, ObjectId, Op, Payload, Raw, Reply, Spec, Wait};
use crate::proxy::{
    Array, Barrier, BoundedSemaphore, Condition, Dict, Event, JoinableQueue, List, Lock, Namespace, Proxy,
    Queue, RLock, Semaphore, Storable, Value, Values, make,
};
use crate::registry;

/// A connection to a manager, which holds objects for any number of processes.
///
/// A method named after a kind of object makes an object without a name, which ends with its last proxy. The methods of
/// [`named`](Self::named) find an object by its name, or make it.
///
/// A manager can be cloned, and travels in messages, values and arguments of processes. The received manager is
/// connected to the same server, and makes and finds objects there. It does not keep the server alive.
///
/// # Fork safety
/// A forked child uses the inherited manager over its own connection. It cannot use a manager that is [in the memory of
/// its parent](Self::in_process).
///
/// # Crash
/// When a process dies, what it held passes on to others, and the references of its proxies are released.
///
/// # Source
/// Python's `multiprocessing.managers.SyncManager`.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// use mp::manager::Manager;
///
/// let manager = Manager::in_process()?;
/// let counter = manager.named("counter").value(&0_u64)?;
/// counter.fetch_add(2)?;
/// assert_eq!(manager.names()?, ["counter"]);
/// assert_eq!(manager.named("counter").value(&0_u64)?.get()?, 2);
/// manager.remove("counter")?;
/// assert!(counter.get().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "SyncManager")]
#[derive(Clone)]
pub struct Manager {
    backend: Arc<dyn Backend>,
    /// The server's process, if it was started here.
    #[cfg(feature = "server")]
    process: Option<Arc<ServerProcess>>,
}

impl Manager {
    /// Makes a manager from any backend.
    #[must_use]
    pub fn with(backend: Arc<dyn Backend>) -> Self {
        registry::register(&backend);
        Self::over(backend)
    }

    /// Makes a manager from a registered backend.
    const fn over(backend: Arc<dyn Backend>) -> Self {
        Self {
            backend,
            #[cfg(feature = "server")]
            process: None,
        }
    }

    /// Returns the backend that runs the operations.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Returns an interface that finds or makes objects with this name.
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// let manager = mp::manager::Manager::in_process()?;
    /// let (one, other) = (manager.named("door").lock()?, manager.named("door").lock()?);
    /// let _held = one.lock().unwrap();
    /// assert!(other.is_locked()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn named<'a>(&'a self, name: &'a str) -> Named<'a> {
        Named::new(self, name)
    }

    /// Removes the object with this name. Waiting calls fail at once, and every other use of its proxies fails from
    /// then on.
    ///
    /// # Errors
    /// [`Fault::UnknownName`] if no object has this name.
    pub fn remove(&self, name: &str) -> Result<(), CallError> {
        self.ask(ManagerOp::Remove { name: name.to_owned() }).map(drop)
    }

    /// Returns the names of all named objects, in order.
    ///
    /// Several calls fetch them, one page after another. A name that exists during the whole time is returned once. One
    /// that is made or removed meanwhile may be returned or not.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn names(&self) -> Result<Vec<String>, CallError> {
        let mut all: Vec<String> = Vec::new();
        loop {
            let name = all.last().cloned().unwrap_or_default();
            match self.ask(ManagerOp::NamesAfter { name })? {
                Reply::Names(page) if page.is_empty() => return Ok(all),
                // Each page begins after the last one, so this ends.
                Reply::Names(page) if page.first() > all.last() && page.is_sorted() => all.extend(page),
                _ => return Err(CallError::Protocol),
            }
        }
    }

    /// Returns what the manager holds for all its clients.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn info(&self) -> Result<Info, CallError> {
        match self.ask(ManagerOp::Info)? {
            Reply::Info(info) => Ok(info),
            _ => Err(CallError::Protocol),
        }
    }

    /// Runs several operations as one: either all are done, or, if any is refused, none. No other client sees a part of
    /// them.
    ///
    /// The closure records the operations. Its return value selects the results: a [`Ticket`](crate::Ticket) for an
    /// operation, a tuple or vector of tickets, or nothing.
    ///
    /// # Errors
    /// [`TransactionError::Refused`] with the reason of the first operation that was refused; [`Fault::TooMany`] above
    /// [`TRANSACTION_OPS_MAX`](crate::limits::TRANSACTION_OPS_MAX) operations, and [`Fault::TooMuchWork`] for operations
    /// that would keep other clients waiting together; [`CallError::Unsupported`] if the backend
    /// has no [transactions](crate::Caps::transactions); [`TransactionError::Object`].
    ///
    /// # Crash
    /// If the process is killed, all operations are done or none.
    ///
    /// # Source
    /// `MULTI` of Redis, except that a failed operation cancels the transaction.
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = mp::manager::Manager::in_process()?;
    /// let (from, to) = (manager.value(&10)?, manager.value(&0)?);
    /// let (before, ()) = manager.transaction(|t| (t.on(&from).fetch_add(-3), t.on(&to).set(&3)))?;
    /// assert_eq!((before, from.get()?, to.get()?), (10, 7, 3));
    /// # Ok(())
    /// # }
    /// ```
    pub fn transaction<T: Tickets>(
        &self,
        record: impl FnOnce(&mut Batch<'_>) -> T,
    ) -> Result<T::All, TransactionError> {
        batch::transaction(&self.backend, record)
    }

    /// Sends several operations together. They run one after another, and operations of other clients may run in
    /// between. Each has its own result.
    ///
    /// Operations are sent when the closure ends, or earlier: as soon as 32 KiB of them have been recorded. So a long
    /// pipeline runs while the rest of it is recorded. If the closure panics, or an operation cannot be recorded, those that
    /// were sent before are done. From the first `try_get` or [`done`](Batch::done) on, nothing is sent early, so what these
    /// would have taken is not lost.
    ///
    /// # Errors
    /// [`ObjectError`], but not the fault of a single operation. If a value cannot be encoded, no operation that is
    /// recorded after it is sent.
    ///
    /// # Fork safety
    /// If the closure forks, the pipeline stays the parent's: what the child records is never sent.
    ///
    /// # Crash
    /// If the process is killed, a first part of the operations may be done, and the rest not.
    ///
    /// # Source
    /// Redis, "Pipelining".
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = mp::manager::Manager::in_process()?;
    /// let queue = manager.queue::<u32>()?;
    /// let put: Vec<_> = manager.pipeline(|p| (0..3).map(|n| p.on(&queue).try_put(&n)).collect::<Vec<_>>())?;
    /// assert!(put.iter().all(Result::is_ok));
    /// assert_eq!(queue.len()?, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pipeline<T: Tickets>(
        &self,
        record: impl FnOnce(&mut Batch<'_>) -> T,
    ) -> Result<T::Each, ObjectError> {
        batch::pipeline(&self.backend, record)
    }

    fn ask(&self, op: ManagerOp<Raw<'_>>) -> Result<Reply<Payload>, CallError> {
        let thread = thread_number();
        self.backend.call(Call { object: ObjectId::MANAGER, thread, wait: Wait::No, op: Op::Manager(op) })
    }

    fn values(&self) -> Values {
        Values::of(&*self.backend)
    }

    /// Makes an object, or finds or makes the one with this name.
    fn make<P: Proxy>(&self, name: Option<&str>, spec: Spec<Raw<'_>>) -> Result<P, ObjectError> {
        make(&self.backend, name, spec)
    }

    fn make_array<'a, T: Storable + Serialize + ?Sized + 'a>(
        &self,
        name: Option<&str>,
        elements: impl IntoIterator<Item = &'a T>,
    ) -> Result<Array<T::Owned>, ObjectError> {
        let mut values = self.values();
        for element in elements {
            values.add(element)?;
        }
        let raws: Vec<_> = values.raws().collect();
        if raws.len() <= VALUES_AT_ONCE_MAX {
            return self.make(name, Spec::Array(raws));
        }
        // Filling a long array would keep other clients waiting, so its elements are collected in a list.
        let list: List<T::Owned> = self.make(None, Spec::List)?;
        for some in raws.chunks(ELEMENTS_AT_ONCE) {
            list.extend_with(some.to_vec())?;
        }
        match self.make(name, Spec::ArrayOf(list.handle().id())) {
            // The server is too old for that, and makes a long array in one step.
            Err(ObjectError::Call(CallError::NeedsVersion { .. })) => self.make(name, Spec::Array(raws)),
            made => made,
        }
    }

    fn make_value<T: Storable + Serialize + ?Sized>(
        &self,
        name: Option<&str>,
        value: &T,
    ) -> Result<Value<T::Owned>, ObjectError> {
        let mut values = self.values();
        let number = values.add(value)?;
        self.make(name, Spec::Value(values.raw(number)))
    }
}

/// Checks the limit of a queue. In the protocol, 0 stands for no limit.
fn room(maxsize: usize) -> Result<u64, CallError> {
    match maxsize {
        0 => Err(CallError::Fault(Fault::OutOfRange { least: 1, most: CAPACITY_MAX })),
        _ => Ok(count_of(maxsize)),
    }
}

impl Manager {
    makers!(self => self, None);
}

impl fmt::Debug for Manager {
    /// Shows the address, and whether this process started the server. This does not call the server.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            Some(address) => write!(f, "Manager({}", Short(&format_args!("{address}")))?,
            None => f.write_str("Manager(in this process")?,
        }
        #[cfg(feature = "server")]
        if self.process.is_some() {
            f.write_str(", started here")?;
        }
        f.write_str(")")
    }
}

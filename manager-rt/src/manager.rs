//! [`Manager`]: where objects are made and found.

mod named;

use std::sync::Arc;

use serde::Serialize;

pub use self::named::Named;
use crate::backend::{Backend, CallError};
use crate::error::ObjectError;
use crate::in_process::InProcess;
use crate::limits::{CAPACITY_MAX, MAX_DELIVERIES_DEFAULT};
use crate::proto::frame::Wait;
use crate::proto::{Fault, Info, ManagerOp, ObjectId, Op, Payload, Raw, Reply, Spec};
use crate::proxy::{
    Array, Barrier, BoundedSemaphore, Condition, Dict, Event, Handle, JoinableQueue, List, Lock, Namespace,
    Proxy, Queue, RLock, Semaphore, Value, Values, count_of,
};
use crate::registry;

/// A connection to a manager, which holds objects for any number of processes.
///
/// The methods named for a kind of object make one without a name: it ends with its last proxy. Those of
/// [`named`](Self::named) make one or find it, by its name.
///
/// # Fork safety
/// A forked child uses the manager that it inherited over a connection of its own; one that is
/// [in the memory of this process](Self::in_process), not at all.
///
/// # Crash
/// When a process dies, what it held passes on, and the references of its proxies end.
///
/// # Source
/// Python's `multiprocessing.managers.SyncManager`.
///
/// # Examples
/// ```
/// use manager_rt::Manager;
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
#[derive(Debug, Clone)]
pub struct Manager {
    backend: Arc<dyn Backend>,
}

impl Manager {
    /// A manager behind any backend.
    #[must_use]
    pub fn with(backend: Arc<dyn Backend>) -> Self {
        registry::register(&backend);
        Self { backend }
    }

    /// A manager in the memory of this process: for tests, and for objects that threads share. No other process sees it.
    ///
    /// # Errors
    /// As [`InProcess::new`].
    pub fn in_process() -> Result<Self, CallError> {
        Ok(Self::with(Arc::new(InProcess::new()?)))
    }

    /// What runs the operations.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Where objects of this name are made or found.
    ///
    /// # Examples
    /// ```
    /// let manager = manager_rt::Manager::in_process()?;
    /// let (one, other) = (manager.named("door").lock()?, manager.named("door").lock()?);
    /// let _held = one.lock().unwrap();
    /// assert!(other.is_locked()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn named<'a>(&'a self, name: &'a str) -> Named<'a> {
        Named::new(self, name)
    }

    /// Ends the object of a name: all who have a proxy of it are told when they use it next, all who wait at once.
    ///
    /// # Errors
    /// [`Fault::UnknownName`](crate::proto::Fault::UnknownName) if there is none.
    pub fn remove(&self, name: &str) -> Result<(), CallError> {
        self.ask(ManagerOp::Remove { name: name.to_owned() }).map(drop)
    }

    /// The names that objects have.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn names(&self) -> Result<Vec<String>, CallError> {
        match self.ask(ManagerOp::Names)? {
            Reply::Names(names) => Ok(names),
            _ => Err(CallError::Protocol),
        }
    }

    /// What the manager holds, for all its clients.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn info(&self) -> Result<Info, CallError> {
        match self.ask(ManagerOp::Info)? {
            Reply::Info(info) => Ok(info),
            _ => Err(CallError::Protocol),
        }
    }

    fn ask(&self, op: ManagerOp<Raw<'_>>) -> Result<Reply<Payload>, CallError> {
        self.backend.call(ObjectId::MANAGER, Op::Manager(op), Wait::No)
    }

    fn values(&self) -> Values {
        Values::of(self.backend.epoch())
    }

    /// Makes an object, or makes or finds that of a name.
    fn make<P: Proxy>(&self, name: Option<&str>, spec: Spec<Raw<'_>>) -> Result<P, ObjectError> {
        let print = P::print();
        let op = match name {
            None => ManagerOp::Create { spec, print },
            Some(name) => ManagerOp::Open { name: name.to_owned(), spec, print },
        };
        match self.ask(op)? {
            Reply::Object { id, .. } => Ok(P::over(Handle::adopt(&self.backend, id))),
            _ => Err(CallError::Protocol.into()),
        }
    }

    fn make_array<'a, T: Serialize + 'a>(
        &self,
        name: Option<&str>,
        elements: impl IntoIterator<Item = &'a T>,
    ) -> Result<Array<T>, ObjectError> {
        let mut values = self.values();
        for element in elements {
            values.add(element)?;
        }
        self.make(name, Spec::Array(values.raws().collect()))
    }

    fn make_value<T: Serialize>(&self, name: Option<&str>, value: &T) -> Result<Value<T>, ObjectError> {
        let mut values = self.values();
        let number = values.add(value)?;
        self.make(name, Spec::Value(values.raw(number)))
    }
}

/// A number of items that a queue may be limited to. In the protocol, 0 stands for no limit.
fn room(maxsize: usize) -> Result<u64, CallError> {
    match maxsize {
        0 => Err(CallError::Fault(Fault::OutOfRange { least: 1, most: CAPACITY_MAX })),
        _ => Ok(count_of(maxsize)),
    }
}

/// The methods that make objects, once for those without a name and once for those with one.
macro_rules! makers {
    ($self:ident => $manager:expr, $name:expr) => {
        /// An empty [`List`].
        ///
        /// # Errors
        /// As [`value`](Self::value).
        pub fn list<T>(&$self) -> Result<List<T>, ObjectError> {
            $manager.make($name, Spec::List)
        }

        /// An empty [`Dict`].
        ///
        /// # Errors
        /// As [`value`](Self::value).
        pub fn dict<K, V>(&$self) -> Result<Dict<K, V>, ObjectError> {
            $manager.make($name, Spec::Dict)
        }

        /// A [`Namespace`] without attributes.
        ///
        /// # Errors
        /// As [`lock`](Self::lock).
        pub fn namespace(&$self) -> Result<Namespace, ObjectError> {
            $manager.make($name, Spec::Namespace)
        }

        /// An [`Array`], which has these elements if it is new.
        ///
        /// # Errors
        /// As [`value`](Self::value).
        pub fn array<'e, T: Serialize + 'e>(
            &$self,
            elements: impl IntoIterator<Item = &'e T>,
        ) -> Result<Array<T>, ObjectError> {
            $manager.make_array($name, elements)
        }

        /// A free [`Lock`].
        ///
        /// # Errors
        /// [`ObjectError`]: [`NoSpace`](crate::proto::Fault::NoSpace) if the manager has no room; for a name, also
        /// [`WrongKind`](crate::proto::Fault::WrongKind) and [`BadName`](crate::proto::Fault::BadName).
        pub fn lock(&$self) -> Result<Lock, ObjectError> {
            $manager.make($name, Spec::Lock)
        }

        /// A free [`RLock`].
        ///
        /// # Errors
        /// As [`lock`](Self::lock).
        pub fn rlock(&$self) -> Result<RLock, ObjectError> {
            $manager.make($name, Spec::RLock)
        }

        /// A [`Condition`] that nobody waits for.
        ///
        /// # Errors
        /// As [`lock`](Self::lock).
        pub fn condition(&$self) -> Result<Condition, ObjectError> {
            $manager.make($name, Spec::Condition)
        }

        /// A [`Semaphore`] with `permits` free permits.
        ///
        /// # Errors
        /// As [`lock`](Self::lock); [`OutOfRange`](crate::proto::Fault::OutOfRange) above
        /// [`PERMITS_MAX`](crate::limits::PERMITS_MAX).
        pub fn semaphore(&$self, permits: usize) -> Result<Semaphore, ObjectError> {
            $manager.make($name, Spec::Semaphore(count_of(permits)))
        }

        /// A [`BoundedSemaphore`] with `permits` free permits.
        ///
        /// # Errors
        /// As [`semaphore`](Self::semaphore).
        pub fn bounded_semaphore(&$self, permits: usize) -> Result<BoundedSemaphore, ObjectError> {
            $manager.make($name, Spec::BoundedSemaphore(count_of(permits)))
        }

        /// An [`Event`] that is not set.
        ///
        /// # Errors
        /// As [`lock`](Self::lock).
        pub fn event(&$self) -> Result<Event, ObjectError> {
            $manager.make($name, Spec::Event)
        }

        /// A [`Barrier`] for `parties` parties.
        ///
        /// # Errors
        /// As [`lock`](Self::lock); [`OutOfRange`](crate::proto::Fault::OutOfRange) for 0 or more than
        /// [`PARTIES_MAX`](crate::limits::PARTIES_MAX).
        pub fn barrier(&$self, parties: usize) -> Result<Barrier, ObjectError> {
            $manager.make($name, Spec::Barrier(count_of(parties)))
        }

        /// A [`Queue`] without a limit.
        ///
        /// # Errors
        /// As [`lock`](Self::lock); [`ObjectError::WrongType`] if the name's queue has items of another type.
        pub fn queue<T>(&$self) -> Result<Queue<T>, ObjectError> {
            $manager.make($name, Spec::Queue(0))
        }

        /// A [`Queue`] that holds at most `maxsize` items.
        ///
        /// # Errors
        /// As [`queue`](Self::queue); [`OutOfRange`](crate::proto::Fault::OutOfRange) for 0 or more than
        /// [`CAPACITY_MAX`](crate::limits::CAPACITY_MAX).
        #[doc(alias = "maxsize")]
        pub fn bounded_queue<T>(&$self, maxsize: usize) -> Result<Queue<T>, ObjectError> {
            $manager.make($name, Spec::Queue(room(maxsize)?))
        }

        /// A [`JoinableQueue`] without a limit, whose tasks fail after
        /// [`MAX_DELIVERIES_DEFAULT`](crate::limits::MAX_DELIVERIES_DEFAULT) deliveries.
        ///
        /// # Errors
        /// As [`queue`](Self::queue).
        pub fn joinable_queue<T>(&$self) -> Result<JoinableQueue<T>, ObjectError> {
            $self.joinable_queue_with(0, MAX_DELIVERIES_DEFAULT)
        }

        /// A [`JoinableQueue`] in which at most `maxsize` tasks wait; else as [`joinable_queue`](Self::joinable_queue).
        ///
        /// # Errors
        /// As [`bounded_queue`](Self::bounded_queue).
        #[doc(alias = "maxsize")]
        pub fn bounded_joinable_queue<T>(&$self, maxsize: usize) -> Result<JoinableQueue<T>, ObjectError> {
            room(maxsize)?;
            $self.joinable_queue_with(maxsize, MAX_DELIVERIES_DEFAULT)
        }

        /// A [`JoinableQueue`] in which at most `maxsize` tasks wait, 0 for no limit, and whose tasks fail after
        /// `max_deliveries` deliveries.
        ///
        /// # Errors
        /// As [`queue`](Self::queue); [`OutOfRange`](crate::proto::Fault::OutOfRange) for more tasks than
        /// [`CAPACITY_MAX`](crate::limits::CAPACITY_MAX), or for no delivery at all.
        pub fn joinable_queue_with<T>(
            &$self,
            maxsize: usize,
            max_deliveries: u32,
        ) -> Result<JoinableQueue<T>, ObjectError> {
            $manager.make($name, Spec::JoinableQueue { maxsize: count_of(maxsize), max_deliveries })
        }

        /// A [`Value`], which is `value` if it is new.
        ///
        /// # Errors
        /// As [`lock`](Self::lock); [`ObjectError::WrongType`] if the name's value is of another type;
        /// [`ObjectError::Encode`], [`ObjectError::OtherManager`].
        pub fn value<T: Serialize>(&$self, value: &T) -> Result<Value<T>, ObjectError> {
            $manager.make_value($name, value)
        }
    };
}

use makers;

impl Manager {
    makers!(self => self, None);
}

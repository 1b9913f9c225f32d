//! `Event`: a flag that processes can wait for.
//!
//! The module [`flag`] explains the word.

#[cfg(feature = "tokio")]
mod asynchronous;
mod flag;
#[cfg(all(mp_loom, test))]
mod models;

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use mp_sys::adaptive::{Budget, Signal};
use mp_sys::cells::SharedSignal;
use mp_sys::deadline::Deadline;
use mp_sys::memory::MemoryError;
use mp_sys::named::{ExistingSpan, Segment, What};

use crate::arena;
use crate::error::TOO_LARGE;
use crate::kind;
use crate::named::{self, NameError};
use crate::sync::event::flag::Flag;
use crate::travel::{Parts, Travels, travels};

/// A flag that processes can wait for.
///
/// | property | |
/// |---|---|
/// | size | 64 bytes of shared memory |
/// | shared with | processes forked after it was made; by [name](crate::named), any process of this user |
/// | waiters | any number, in no order; all of them wake up when the flag is set |
/// | drop | closes this process's handle; the event lives as long as any process has a handle |
///
/// A waiter spins for a moment if the process that sets the flag last ran on another CPU, and sleeps otherwise.
///
/// # Fork safety
/// A forked child shares the event.
///
/// # Crash
/// `set` and `clear` are one store each, so they happen completely or not at all. They never wait for a waiter, so a killed
/// or frozen waiter delays nobody.
///
/// # Source
/// Python's `multiprocessing.Event`, whose `set` hangs if a waiter was killed; futex(2).
///
/// # Examples
/// ```
/// # extern crate shm_core as mp;
/// use std::time::Duration;
/// use mp::Event;
///
/// let ready = Event::new()?;
/// assert!(!ready.wait_timeout(Duration::from_millis(1)));
/// ready.set();
/// ready.wait();
/// assert!(ready.is_set());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Event {
    signal: SharedSignal,
    budget: Budget,
    segment: Option<Segment>,
}

impl Event {
    /// Creates an event that is not set.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no shared memory for it.
    pub fn new() -> Result<Self, MemoryError> {
        let signal = SharedSignal::new(arena::allocate(size_of::<Signal>())?).map_err(|_| TOO_LARGE)?;
        Ok(Self { signal, budget: Budget::new(), segment: None })
    }

    /// Creates an event that is not set under a name, which other programs of this user can open.
    ///
    /// # Errors
    /// [`NameError::Exists`] if a living process uses the name; [`NameError::BadName`]; or a shortage of memory or
    /// descriptors.
    pub fn create(name: &str) -> Result<Self, NameError> {
        let bytes = size_of::<Signal>();
        let (signal, segment) = named::create::<(), _>(name, kind::EVENT, 0, bytes, SharedSignal::new)?;
        Ok(Self { signal, budget: Budget::new(), segment: Some(segment) })
    }

    /// Opens the event of this name.
    ///
    /// # Errors
    /// [`NameError::NotFound`], also for a name that killed processes left; [`NameError::WrongType`] for another kind of
    /// object; [`NameError::WrongVersion`] for an incompatible build.
    pub fn open(name: &str) -> Result<Self, NameError> {
        let attach = |_, span| SharedSignal::attach(span).ok();
        let (signal, segment) = named::open::<(), _>(name, kind::EVENT, attach)?;
        Ok(Self { signal, budget: Budget::new(), segment: Some(segment) })
    }

    fn flag(&self) -> Flag<'_> {
        Flag(&self.signal)
    }

    /// Returns whether the flag is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.flag().is_set()
    }

    /// Sets the flag and wakes all waiters, without waiting for them.
    pub fn set(&self) {
        self.flag().set();
    }

    /// Clears the flag. Threads that were waiting when it was set still wake up.
    pub fn clear(&self) {
        self.flag().clear();
    }

    /// Waits until the flag is set.
    pub fn wait(&self) {
        // Never `false`: there is no deadline.
        while !self.wait_until(Deadline::NEVER) {}
    }

    /// Waits until the flag is set, for at most `timeout` (monotonic clock; `Duration::MAX` waits for ever). Returns `false`
    /// if it was not set by then.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_until(Deadline::after(timeout))
    }

    fn wait_until(&self, deadline: Deadline) -> bool {
        self.flag().wait_until(&self.budget, deadline)
    }
}

impl Travels for Event {
    type Object = SharedSignal;

    fn what() -> What {
        named::of::<()>(kind::EVENT)
    }

    fn parts(&self) -> Parts<'_, SharedSignal> {
        Parts { object: &self.signal, count: 1, segment: self.segment.as_ref() }
    }

    fn arrive(object: ExistingSpan<SharedSignal>, _: usize) -> Option<Self> {
        let signal = SharedSignal::attach(object).ok()?;
        Some(Self { signal, budget: Budget::new(), segment: None })
    }

    fn open_named(name: &str) -> Result<Self, NameError> {
        Self::open(name)
    }
}

travels!(Event);

// Like std's atomics: every operation on it is whole.
impl UnwindSafe for Event {}
impl RefUnwindSafe for Event {}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_set() { "Event(set)" } else { "Event(not set)" })
    }
}

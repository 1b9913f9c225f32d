//! What an object remembers of its registrations.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::runtime::Id;

use super::RuntimeError;
use super::registered::Registered;
use super::runtimes::{self, Key};
use crate::fork::Generations;

/// A descriptor of an object that tasks wait for. It is registered once with each runtime that waits for it.
///
/// | property | |
/// |---|---|
/// | descriptors | one for each runtime that has waited, until the runtime or the object ends |
/// | in a forked child | nothing is registered yet; what the parent registered stays open there |
/// | drop | ends the registrations |
#[derive(Debug)]
pub struct Watched {
    seats: Generations<Mutex<Vec<Seat>>>,
    interest: Interest,
}

/// A registration with one runtime.
#[derive(Debug)]
struct Seat {
    runtime: Id,
    key: Key,
    registered: Weak<Registered>,
}

impl Watched {
    /// Waits until the descriptor is readable.
    #[must_use]
    pub const fn readable() -> Self {
        Self { seats: Generations::new(), interest: Interest::READABLE }
    }

    /// Waits until the descriptor is writable.
    #[must_use]
    pub const fn writable() -> Self {
        Self { seats: Generations::new(), interest: Interest::WRITABLE }
    }

    /// Waits until the descriptor is readable or writable.
    #[must_use]
    pub const fn either() -> Self {
        Self { seats: Generations::new(), interest: Interest::READABLE.add(Interest::WRITABLE) }
    }

    /// Returns the registration with the caller's runtime, and makes it if there is none.
    pub(super) fn registered(&self, file: BorrowedFd<'_>) -> Result<Arc<Registered>, RuntimeError> {
        let handle = runtimes::current()?;
        let id = handle.id();
        let mut seats = self.seats.get(|_| Mutex::default()).lock().unwrap_or_else(PoisonError::into_inner);
        let known = seats.iter().filter(|seat| seat.runtime == id).find_map(|seat| seat.registered.upgrade());
        if let Some(registered) = known {
            return Ok(registered);
        }
        // The runtimes of these have ended.
        seats.retain(|seat| seat.registered.strong_count() > 0);
        let (key, registered) = runtimes::register(&handle, || Registered::of(file, self.interest))?;
        seats.push(Seat { runtime: id, key, registered: Arc::downgrade(&registered) });
        Ok(registered)
    }
}

/// What a single task knows of a descriptor that it watches: see [`Watched::register`].
#[derive(Debug)]
pub struct News(Arc<Registered>);

impl News {
    /// Returns `Ready` if there may be news since the last call, and forgets them. Otherwise the task is woken later. It tries
    /// its operation after each call, whatever this returned.
    ///
    /// # Errors
    /// [`RuntimeError::ShuttingDown`].
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<Result<(), RuntimeError>> {
        self.0.poll_news(context)
    }
}

impl Watched {
    /// Registers a descriptor with the caller's runtime, for a task that tries its operation by itself, and only then. So it needs
    /// no timer, but news that no event reports are missed.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn register(&self, file: BorrowedFd<'_>) -> Result<News, RuntimeError> {
        self.registered(file).map(News)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let Some(seats) = self.seats.existing() else {
            return;
        };
        for seat in seats.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            runtimes::forget(seat.runtime, seat.key);
        }
    }
}

/// A descriptor that tasks wait for in both directions.
#[derive(Debug)]
pub struct BothWays {
    /// Waits until it is readable.
    pub readable: Watched,
    /// Waits until it is writable.
    pub writable: Watched,
}

impl BothWays {
    /// Registers nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { readable: Watched::readable(), writable: Watched::writable() }
    }
}

impl Default for BothWays {
    fn default() -> Self {
        Self::new()
    }
}

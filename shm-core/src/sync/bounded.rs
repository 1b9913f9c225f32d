//! `BoundedSemaphore`: a semaphore that never has more permits than at its beginning.

use std::fmt;
use std::time::Duration;

use mp_sys::cells::SignalledWords;
use mp_sys::named::{ExistingSpan, Kind, What};

use crate::error::SemaphoreError;
use crate::kind;
use crate::named::{self, NameError};
use crate::sync::semaphore::{Permit, Semaphore};
use crate::travel::{Parts, Travels, travels};

/// A [`Semaphore`] that never has more permits than at its beginning: giving back what was not taken is an error.
///
/// Everything else is as there.
///
/// # Source
/// Python's `multiprocessing.BoundedSemaphore`, whose check for this reads and then releases.
///
/// # Examples
/// ```
/// # extern crate shm_core as mp;
/// use mp::{BoundedSemaphore, SemaphoreError};
///
/// let seats = BoundedSemaphore::new(1)?;
/// seats.acquire().forget();
/// seats.add_permits(1)?;
/// assert_eq!(seats.add_permits(1), Err(SemaphoreError::OverRelease));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct BoundedSemaphore {
    inner: Semaphore,
}

const KIND: Kind = kind::BOUNDED_SEMAPHORE;

impl BoundedSemaphore {
    /// Makes a semaphore with `permits` free permits.
    ///
    /// # Errors
    /// As [`Semaphore::new`].
    pub fn new(permits: usize) -> Result<Self, SemaphoreError> {
        Ok(Self { inner: Semaphore::with_room(permits, 0)? })
    }

    /// Makes a semaphore with `permits` free permits under a name, which other programs of this user can open.
    ///
    /// # Errors
    /// As [`Semaphore::create`].
    pub fn create(name: &str, permits: usize) -> Result<Self, SemaphoreError> {
        Ok(Self { inner: Semaphore::create_with_room(name, KIND, permits, 0)? })
    }

    /// Finds the semaphore of this name.
    ///
    /// # Errors
    /// As [`Semaphore::open`].
    pub fn open(name: &str) -> Result<Self, NameError> {
        Ok(Self { inner: Semaphore::open_kind(name, KIND)? })
    }

    /// Permits that nobody has at this moment.
    #[doc(alias = "get_value")]
    #[must_use]
    pub fn available(&self) -> usize {
        self.inner.available()
    }

    /// Takes a permit, waiting until there is one.
    pub fn acquire(&self) -> Permit<'_> {
        self.inner.acquire()
    }

    /// Takes a permit if there is one.
    ///
    /// # Errors
    /// [`SemaphoreError::WouldBlock`].
    pub fn try_acquire(&self) -> Result<Permit<'_>, SemaphoreError> {
        self.inner.try_acquire()
    }

    /// Takes a permit, waiting at most `timeout` (monotonic clock; `Duration::MAX` waits for ever).
    ///
    /// # Errors
    /// [`SemaphoreError::TimedOut`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, SemaphoreError> {
        self.inner.acquire_timeout(timeout)
    }

    /// Gives `count` permits back that were [forgotten](Permit::forget), by any process.
    ///
    /// # Errors
    /// [`SemaphoreError::OverRelease`] if fewer were forgotten; none was given back then.
    #[doc(alias = "release")]
    pub fn add_permits(&self, count: usize) -> Result<(), SemaphoreError> {
        self.inner.add_permits(count).map_err(|error| match error {
            SemaphoreError::TooManyPermits { .. } => SemaphoreError::OverRelease,
            other => other,
        })
    }
}

impl Travels for BoundedSemaphore {
    type Object = SignalledWords;

    fn what() -> What {
        named::of::<()>(KIND)
    }

    fn parts(&self) -> Parts<'_, SignalledWords> {
        self.inner.parts()
    }

    fn arrive(object: ExistingSpan<SignalledWords>, words: usize) -> Option<Self> {
        Some(Self { inner: Semaphore::arrive(object, words)? })
    }

    fn open_named(name: &str) -> Result<Self, NameError> {
        Self::open(name)
    }
}

travels!(BoundedSemaphore);

impl fmt::Debug for BoundedSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.show("BoundedSemaphore", f)
    }
}

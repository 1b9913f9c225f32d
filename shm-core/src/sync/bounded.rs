//! `BoundedSemaphore`: a semaphore that never has more permits than at the beginning.

use std::fmt;
use std::time::Duration;

use mp_sys::cells::SignalledWords;
use mp_sys::named::{ExistingSpan, Kind, What};

use crate::error::SemaphoreError;
use crate::kind;
use crate::named::{self, NameError};
use crate::sync::semaphore::{Permit, Semaphore};
use crate::travel::{Parts, Travels, travels};

/// A [`Semaphore`] that never has more permits than at the beginning: giving back more than was taken is an error.
///
/// Otherwise it is like [`Semaphore`].
///
/// # Source
/// Python's `multiprocessing.BoundedSemaphore`, whose check and release are two separate steps.
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
    pub(super) inner: Semaphore,
}

const KIND: Kind = kind::BOUNDED_SEMAPHORE;

impl BoundedSemaphore {
    /// Creates a semaphore with `permits` free permits.
    ///
    /// # Errors
    /// The same as [`Semaphore::new`].
    pub fn new(permits: usize) -> Result<Self, SemaphoreError> {
        Ok(Self { inner: Semaphore::with_room(permits, 0)? })
    }

    /// Creates a semaphore with `permits` free permits under a name, which other programs of this user can open.
    ///
    /// # Errors
    /// The same as [`Semaphore::create`].
    pub fn create(name: &str, permits: usize) -> Result<Self, SemaphoreError> {
        Ok(Self { inner: Semaphore::create_with_room(name, KIND, permits, 0)? })
    }

    /// Opens the semaphore of this name.
    ///
    /// # Errors
    /// The same as [`Semaphore::open`].
    pub fn open(name: &str) -> Result<Self, NameError> {
        Ok(Self { inner: Semaphore::open_kind(name, KIND)? })
    }

    /// Returns the number of permits that are free at this moment.
    #[doc(alias = "get_value")]
    #[must_use]
    pub fn available(&self) -> usize {
        self.inner.available()
    }

    /// Waits until a permit is free, and takes it.
    pub fn acquire(&self) -> Permit<'_> {
        self.inner.acquire()
    }

    /// Takes a permit if one is free.
    ///
    /// # Errors
    /// [`SemaphoreError::WouldBlock`].
    pub fn try_acquire(&self) -> Result<Permit<'_>, SemaphoreError> {
        self.inner.try_acquire()
    }

    /// Takes a permit, after waiting at most `timeout` (monotonic clock; `Duration::MAX` waits for ever).
    ///
    /// # Errors
    /// [`SemaphoreError::TimedOut`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, SemaphoreError> {
        self.inner.acquire_timeout(timeout)
    }

    /// Gives back `count` permits that any process has [forgotten](Permit::forget).
    ///
    /// # Errors
    /// [`SemaphoreError::OverRelease`] if fewer were forgotten; then none was given back.
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

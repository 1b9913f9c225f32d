//! [`Semaphore`] and [`BoundedSemaphore`]: permits.

use std::fmt;
use std::time::Duration;

use mp_sys::fork::Epoch;

use crate::count::count_of;
use crate::error::{ObjectError, SemaphoreError};
use crate::proto::{Op, SemaphoreOp, Wait};
use crate::proxy::handle::within;
use crate::proxy::lock::{Granted, is_held, watch};
use crate::proxy::{Handle, proxy, read};

/// A number of permits that come back when their holder dies.
///
/// | property | |
/// |---|---|
/// | a permit belongs to | the process; any of its threads may release it |
/// | fair | yes: the longest waiter is next, and no other caller overtakes it |
/// | recovers | when the connection of the holder ends |
/// | limit | [`PERMITS_MAX`](crate::limits::PERMITS_MAX), taken or free |
/// | drop | releases the proxy; without a name, the object ends with its last proxy |
///
/// # Fork safety
/// A forked child uses the inherited proxy. An inherited [`Permit`] does nothing in the child.
///
/// # Crash
/// When a process dies, its permits are free again, except those that it [forgot](Permit::forget).
///
/// # Source
/// Python's `multiprocessing.Manager().Semaphore`, whose permits are lost when their holder dies.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use mp::manager::{Manager, SemaphoreError};
///
/// let connections = Manager::in_process()?.semaphore(2)?;
/// let first = connections.acquire()?;
/// let second = connections.acquire()?;
/// assert_eq!(connections.try_acquire().unwrap_err(), SemaphoreError::WouldBlock);
/// drop(first);
/// assert_eq!(connections.available()?, 1);
/// second.forget()?; // the permit has no owner now
/// connections.add_permits(1)?; // by any process
/// assert_eq!(connections.available()?, 2);
/// # Ok(())
/// # }
/// ```
pub struct Semaphore {
    handle: Handle,
}

proxy!(Semaphore);

/// A [`Semaphore`] that never has more permits than it was made with.
///
/// # Fork safety
/// As [`Semaphore`].
///
/// # Crash
/// As [`Semaphore`].
///
/// # Source
/// Python's `multiprocessing.Manager().BoundedSemaphore`.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use mp::manager::{Manager, SemaphoreError};
///
/// let seats = Manager::in_process()?.bounded_semaphore(1)?;
/// assert_eq!(seats.add_permits(1), Err(SemaphoreError::OverRelease));
/// seats.acquire()?.forget()?;
/// seats.add_permits(1)?;
/// # Ok(())
/// # }
/// ```
pub struct BoundedSemaphore {
    handle: Handle,
}

proxy!(BoundedSemaphore);

/// The methods that both semaphores have.
macro_rules! permits {
    ($name:ident) => {
        impl $name {
            /// Takes a permit. Waits until one is free.
            ///
            /// # Errors
            /// [`SemaphoreError::Object`].
            pub fn acquire(&self) -> Result<Permit<'_>, SemaphoreError> {
                acquire(&self.handle, Wait::Forever)
            }

            /// Takes a permit if one is free now.
            ///
            /// # Errors
            /// [`SemaphoreError::WouldBlock`]; [`SemaphoreError::Object`].
            pub fn try_acquire(&self) -> Result<Permit<'_>, SemaphoreError> {
                acquire(&self.handle, Wait::No)
            }

            /// Takes a permit. Waits at most `timeout` (`Duration::MAX` waits for ever).
            ///
            /// # Errors
            /// [`SemaphoreError::TimedOut`]; [`SemaphoreError::Object`].
            pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, SemaphoreError> {
                acquire(&self.handle, within(timeout))
            }

            /// Adds `count` free permits: those that were forgotten, or new ones if the semaphore is not bounded.
            ///
            /// # Errors
            /// [`SemaphoreError::OverRelease`] if there would be more permits than allowed; then none was added.
            /// [`SemaphoreError::Object`].
            #[doc(alias = "release")]
            pub fn add_permits(&self, count: usize) -> Result<(), SemaphoreError> {
                Ok(self.handle.ask(Op::Semaphore(SemaphoreOp::Add(count_of(count))), read::done)?)
            }

            /// Returns the number of free permits at this moment.
            ///
            /// # Errors
            /// [`ObjectError`].
            #[doc(alias = "get_value")]
            pub fn available(&self) -> Result<usize, ObjectError> {
                self.handle.ask(Op::Semaphore(SemaphoreOp::Available), read::count)
            }
        }
    };
}

permits!(Semaphore);
permits!(BoundedSemaphore);

fn acquire(handle: &Handle, wait: Wait) -> Result<Permit<'_>, SemaphoreError> {
    let granted = Granted::of(&handle.call(Op::Semaphore(SemaphoreOp::Take), wait)?)?;
    Ok(Permit::new(handle, granted.token))
}

/// A permit of a [`Semaphore`] or [`BoundedSemaphore`]. Dropping it releases it.
///
/// It belongs to the process: any of its threads may receive and drop it.
#[doc(alias = "release")]
#[must_use = "the permit is released when it is dropped"]
pub struct Permit<'a> {
    handle: &'a Handle,
    /// What all permits of this process's connection have in common.
    token: u64,
    taken_in: Epoch,
    is_held: bool,
    /// Whether a task took it. Then its drop does not wait for the server.
    #[cfg(feature = "tokio")]
    is_of_task: bool,
}

impl<'a> Permit<'a> {
    fn new(handle: &'a Handle, token: u64) -> Self {
        Self {
            handle,
            token,
            taken_in: Epoch::current(),
            is_held: true,
            #[cfg(feature = "tokio")]
            is_of_task: false,
        }
    }

    /// Wraps a permit that a task has taken.
    #[cfg(feature = "tokio")]
    pub(super) fn of_task(handle: &'a Handle, token: u64) -> Self {
        let mut permit = Self::new(handle, token);
        permit.is_of_task = true;
        permit
    }
}

impl Permit<'_> {
    /// Returns `false` if the permit is lost, as far as this process knows, because the connection over which it was
    /// taken has ended: see [`LockGuard::is_valid`](crate::LockGuard::is_valid). Then others can have it.
    ///
    /// A permit has no fencing token, since several processes hold permits at the same time.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        is_held(self.handle, self.token, self.taken_in)
    }

    /// Runs `lost` once, if this process finds out that it lost the permit: see
    /// [`LockGuard::on_lost`](crate::LockGuard::on_lost). All permits that this process has of one semaphore are lost
    /// together, and this counts until the last of them is dropped.
    pub fn on_lost(&self, lost: impl FnOnce() + Send + 'static) {
        watch(self.handle, self.token, self.taken_in, Box::new(lost));
    }

    /// Gives up ownership without releasing the permit: the semaphore has one permit less until
    /// [`Semaphore::add_permits`] adds one. So one process can take a permit and another can release it, as in Python.
    ///
    /// # Errors
    /// [`SemaphoreError::Object`]. After an error, the permit is released, unless the manager forgot it after all. In a
    /// forked child, which has only a copy, this does nothing.
    pub fn forget(mut self) -> Result<(), SemaphoreError> {
        if self.taken_in.is_current() {
            self.handle.ask(Op::Semaphore(SemaphoreOp::Disown { token: self.token }), read::done)?;
        }
        self.is_held = false;
        Ok(())
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.is_held || !self.taken_in.is_current() {
            return;
        }
        let op = SemaphoreOp::Return { token: self.token };
        #[cfg(feature = "tokio")]
        if self.is_of_task {
            self.handle.post(Op::Semaphore(op));
            return;
        }
        if let Err(error) = self.handle.call(Op::Semaphore(op), Wait::No) {
            tracing::warn!(semaphore = %self.handle.id(), %error, "a permit was not released");
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({:?})", self.handle)
    }
}

//! [`Semaphore`] and [`BoundedSemaphore`]: permits.

use std::fmt;
use std::time::Duration;

use mp_sys::fork::Epoch;

use crate::count::count_of;
use crate::error::{ObjectError, SemaphoreError};
use crate::proto::frame::Wait;
use crate::proto::{Op, SemaphoreOp};
use crate::proxy::handle::within;
use crate::proxy::{Handle, proxy, read};

/// A number of permits, which come back when their holder dies.
///
/// | property | |
/// |---|---|
/// | a permit belongs to | the process; any of its threads may give it back |
/// | fair | yes: who waits longest is next, and nobody overtakes |
/// | recovers | when the connection of the holder ends |
/// | limit | [`PERMITS_MAX`](crate::limits::PERMITS_MAX), taken or free |
/// | drop | gives the proxy up; the object ends with the last one |
///
/// # Fork safety
/// A forked child uses the proxy that it inherited. An inherited [`Permit`] does nothing there.
///
/// # Crash
/// The permits of a process that dies are free again, but for those that it [forgot](Permit::forget).
///
/// # Source
/// Python's `multiprocessing.Manager().Semaphore`, whose permits die with their holders.
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
/// second.forget()?; // without an owner from now on
/// connections.add_permits(1)?; // by any process
/// assert_eq!(connections.available()?, 2);
/// # Ok(())
/// # }
/// ```
pub struct Semaphore {
    handle: Handle,
}

proxy!(Semaphore);

/// A [`Semaphore`] of which no more permits can be given back than were taken.
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

/// The methods that both have.
macro_rules! permits {
    ($name:ident) => {
        impl $name {
            /// Takes a permit, waiting until there is one.
            ///
            /// # Errors
            /// [`SemaphoreError::Object`].
            pub fn acquire(&self) -> Result<Permit<'_>, SemaphoreError> {
                acquire(&self.handle, Wait::Forever)
            }

            /// Takes a permit if there is one.
            ///
            /// # Errors
            /// [`SemaphoreError::WouldBlock`]; [`SemaphoreError::Object`].
            pub fn try_acquire(&self) -> Result<Permit<'_>, SemaphoreError> {
                acquire(&self.handle, Wait::No)
            }

            /// Takes a permit, waiting at most `timeout` (`Duration::MAX` waits for ever).
            ///
            /// # Errors
            /// [`SemaphoreError::TimedOut`]; [`SemaphoreError::Object`].
            pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, SemaphoreError> {
                acquire(&self.handle, within(timeout))
            }

            /// Adds `count` free permits: what was forgotten, and, if there is no bound, others.
            ///
            /// # Errors
            /// [`SemaphoreError::OverRelease`] if there would be more than there may be; none was added then.
            /// [`SemaphoreError::Object`].
            #[doc(alias = "release")]
            pub fn add_permits(&self, count: usize) -> Result<(), SemaphoreError> {
                Ok(self.handle.ask(Op::Semaphore(SemaphoreOp::Add(count_of(count))), read::done)?)
            }

            /// Permits that nobody has at this moment.
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
    handle.call(Op::Semaphore(SemaphoreOp::Acquire), wait)?;
    Ok(Permit { handle, taken_in: Epoch::current(), is_held: true })
}

/// A permit of a [`Semaphore`] or [`BoundedSemaphore`]. Dropping it gives it back.
///
/// It belongs to the process, and may be sent to and dropped by any of its threads.
#[doc(alias = "release")]
#[must_use = "the permit is given back when it is dropped"]
pub struct Permit<'a> {
    handle: &'a Handle,
    taken_in: Epoch,
    is_held: bool,
}

impl Permit<'_> {
    /// Gives the permit up without giving it back: there is one less, until somebody adds one by
    /// [`Semaphore::add_permits`]. So one process can take it and another one give it back, as in Python.
    ///
    /// # Errors
    /// [`SemaphoreError::Object`]. The permit is given back then, unless the manager did it after all. In a forked child,
    /// which has a copy only, it does nothing.
    pub fn forget(mut self) -> Result<(), SemaphoreError> {
        if self.taken_in.is_current() {
            self.handle.ask(Op::Semaphore(SemaphoreOp::Forget), read::done)?;
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
        if let Err(error) = self.handle.call(Op::Semaphore(SemaphoreOp::Release), Wait::No) {
            tracing::warn!(semaphore = %self.handle.id(), %error, "a permit was not given back");
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({:?})", self.handle)
    }
}

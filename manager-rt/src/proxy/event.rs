//! [`Event`]: a flag that processes can wait for.

use std::time::Duration;

use crate::backend::CallError;
use crate::error::ObjectError;
use crate::proto::{EventOp, Fault, Op, Wait};
use crate::proxy::handle::within;
use crate::proxy::{Handle, proxy, read};

/// A flag that processes set, clear and wait for.
///
/// | property | |
/// |---|---|
/// | waiting | uses no thread of the manager: ten thousand callers may wait |
/// | drop | releases the proxy; without a name, the object ends with its last proxy |
///
/// # Fork safety
/// A forked child uses the inherited proxy.
///
/// # Crash
/// The flag keeps its state, whichever process dies.
///
/// # Source
/// Python's `multiprocessing.Manager().Event`.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// use std::time::Duration;
///
/// use mp::manager::Manager;
///
/// let ready = Manager::in_process()?.event()?;
/// assert!(!ready.wait_timeout(Duration::from_millis(1))?);
/// ready.set()?;
/// ready.wait()?;
/// assert!(ready.is_set()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Event {
    handle: Handle,
}

proxy!(Event);

impl Event {
    /// Returns `true` if the flag is set.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn is_set(&self) -> Result<bool, ObjectError> {
        self.handle.ask(Op::Event(EventOp::IsSet), read::bool)
    }

    /// Sets the flag, and releases every waiter. Does not wait for them to run.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn set(&self) -> Result<(), ObjectError> {
        self.handle.ask(Op::Event(EventOp::Set), read::done)
    }

    /// Clears the flag. Waiters that `set` released go on nevertheless.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn clear(&self) -> Result<(), ObjectError> {
        self.handle.ask(Op::Event(EventOp::Clear), read::done)
    }

    /// Waits until the flag is set.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn wait(&self) -> Result<(), ObjectError> {
        self.handle.call(Op::Event(EventOp::Wait), Wait::Forever)?;
        Ok(())
    }

    /// Waits until the flag is set, at most `timeout` (`Duration::MAX` waits for ever). Returns `false` if it timed
    /// out.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, ObjectError> {
        match self.handle.call(Op::Event(EventOp::Wait), within(timeout)) {
            Ok(_) => Ok(true),
            Err(CallError::Fault(Fault::TimedOut)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

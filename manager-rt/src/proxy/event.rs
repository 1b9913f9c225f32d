//! [`Event`]: a flag that can be waited for.

use std::time::Duration;

use crate::backend::CallError;
use crate::error::ObjectError;
use crate::proto::frame::Wait;
use crate::proto::{EventOp, Fault, Op};
use crate::proxy::handle::within;
use crate::proxy::{Handle, proxy, read};

/// A flag that processes set, clear and wait for.
///
/// | property | |
/// |---|---|
/// | waiting | costs no thread of the manager: ten thousand may wait |
/// | drop | gives the proxy up; the object ends with the last one |
///
/// # Fork safety
/// A forked child uses the proxy that it inherited.
///
/// # Crash
/// The flag stays as it is, whoever dies.
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
    /// Whether the flag is set.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn is_set(&self) -> Result<bool, ObjectError> {
        self.handle.ask(Op::Event(EventOp::IsSet), read::bool)
    }

    /// Sets the flag, and lets every waiter go on. Does not wait for them.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn set(&self) -> Result<(), ObjectError> {
        self.handle.ask(Op::Event(EventOp::Set), read::done)
    }

    /// Clears the flag. Whoever waited when it was set goes on all the same.
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

    /// Waits until the flag is set, at most `timeout` (`Duration::MAX` waits for ever); `false` if it was not.
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

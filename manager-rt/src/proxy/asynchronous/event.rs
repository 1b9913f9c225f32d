//! The async forms of [`Event`]'s methods.

use crate::error::ObjectError;
use crate::proto::{EventOp, Op, Wait};
use crate::proxy::{Event, Proxy, read};

impl Event {
    /// As [`is_set`](Self::is_set), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn is_set_async(&self) -> impl Future<Output = Result<bool, ObjectError>> + Send {
        self.handle().ask_async(Op::Event(EventOp::IsSet), read::bool)
    }

    /// As [`set`](Self::set), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn set_async(&self) -> impl Future<Output = Result<(), ObjectError>> + Send {
        self.handle().ask_async(Op::Event(EventOp::Set), read::done)
    }

    /// As [`clear`](Self::clear), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn clear_async(&self) -> impl Future<Output = Result<(), ObjectError>> + Send {
        self.handle().ask_async(Op::Event(EventOp::Clear), read::done)
    }

    /// As [`wait`](Self::wait), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn wait_async(&self) -> impl Future<Output = Result<(), ObjectError>> + Send {
        self.handle().wait_async(Op::Event(EventOp::Wait), Wait::Forever, read::done)
    }
}

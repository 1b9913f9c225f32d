//! Waiting for an endpoint in tasks of a tokio runtime.

use std::os::fd::AsFd;

use super::Endpoint;
use crate::asynchronous::{Attempt, RuntimeError};

impl Endpoint {
    /// Tries `send` until it is done, and waits for room in between. The timer counts here: the kernel reports room only when
    /// the other side has taken three quarters of the packets.
    ///
    /// # Errors
    /// [`RuntimeError`]; nothing was sent.
    pub async fn attempt_to_send<T>(&self, send: impl FnMut() -> Attempt<T>) -> Result<T, RuntimeError> {
        self.watched.writable.attempt(self.as_fd(), send).await
    }

    /// Tries `receive` until it is done, and waits for packets in between.
    ///
    /// # Errors
    /// [`RuntimeError`]; nothing was received.
    pub async fn attempt_to_receive<T>(
        &self,
        receive: impl FnMut() -> Attempt<T>,
    ) -> Result<T, RuntimeError> {
        self.watched.readable.attempt(self.as_fd(), receive).await
    }
}

//! Waiting for an event in an async task.

use std::sync::Arc;

use mp_sys::adaptive::Signal;
use mp_sys::cells::SharedSignal;

use crate::asynchronous::{Order, Source, Wait};
use crate::error::RuntimeError;
use crate::sync::event::Event;

/// The word of an event. A flag has no holder who could die.
#[derive(Debug)]
struct Word(SharedSignal);

impl Source for Word {
    fn signal(&self) -> &Signal {
        &self.0
    }
}

impl Event {
    /// Waits until the flag is set, without blocking a thread of the runtime. Feature `tokio`.
    ///
    /// Like [`wait`](Self::wait), it ends even if the flag was cleared again before the task ran. The wait begins when the
    /// future is polled for the first time. A thread of the runtime's blocking pool watches for all tasks: see the [guide to
    /// async programs](https://docs.rs/mp-facade).
    ///
    /// # Cancellation
    /// You can drop the future at any time. Nothing is lost.
    ///
    /// # Errors
    /// [`RuntimeError`] if the task has to wait and no tokio runtime polls it. An event that is set needs none.
    ///
    /// # Panics
    /// If the runtime has no blocking thread and cannot start one.
    ///
    /// # Fork safety
    /// A runtime does not work in a forked child, and neither do its futures.
    ///
    /// # Examples
    /// ```
    /// # extern crate shm_core as mp;
    /// use mp::Event;
    ///
    /// let ready = Event::new()?;
    /// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// runtime.block_on(async {
    ///     let waiter = ready.clone();
    ///     let task = tokio::spawn(async move { waiter.wait_async().await });
    ///     ready.set();
    ///     task.await??;
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn wait_async(&self) -> Result<(), RuntimeError> {
        tokio::task::coop::consume_budget().await;
        let seen = self.signal.get();
        let mut wait = Wait::default();
        // A flag that is not set can only change by being set.
        while !self.flag().is_set() && self.signal.get() == seen {
            wait.until_called(&self.signal, Order::All, seen, || Arc::new(Word(self.signal.clone()))).await?;
        }
        Ok(())
    }
}

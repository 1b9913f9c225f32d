//! Waiting for a permit in an async task.

use std::sync::Arc;

use mp_sys::adaptive::Signal;
use mp_sys::cells::SignalledWords;
use mp_sys::identity::Stamp;

use crate::asynchronous::{Order, Source, Wait};
use crate::error::SemaphoreError;
use crate::sync::bounded::BoundedSemaphore;
use crate::sync::dead::{Kernel, PAUSE, Witness};
use crate::sync::semaphore::permits::Permits;
use crate::sync::semaphore::{Permit, Semaphore};

/// The words of a semaphore.
#[derive(Debug)]
struct Words(SignalledWords);

impl Source for Words {
    fn signal(&self) -> &Signal {
        self.0.signal()
    }

    /// Frees the permits of dead processes, which changes the word.
    fn look(&self) -> bool {
        let permits = Permits { signal: self.0.signal(), slots: self.0.words() };
        if Kernel.is_turn_to_look(&permits.signal.watch().last_look, PAUSE) {
            permits.free_those_of_the_dead(&Kernel);
        }
        false
    }
}

impl Semaphore {
    /// Waits until a permit is free, and takes it, without blocking a thread of the runtime. Feature `tokio`.
    ///
    /// The permit may be kept across an `.await`, and sent to other threads. It borrows the semaphore: move a clone of the
    /// semaphore into the task. The tasks of one runtime get their turns in the order in which they came. A call that finds a
    /// free permit does not wait for its turn.
    ///
    /// # Cancellation
    /// You can drop the future at any time. No permit is lost, and the next task or process gets its turn.
    ///
    /// # Errors
    /// [`SemaphoreError::Runtime`] if the task has to wait and no tokio runtime polls it. A permit that is free needs none.
    ///
    /// # Panics
    /// If the runtime has no blocking thread and cannot start one.
    ///
    /// # Fork safety
    /// A runtime does not work in a forked child, and neither do its futures.
    ///
    /// # Crash
    /// The permits of a dead process come back within 100 ms (mostly 40) while a task waits.
    ///
    /// # Examples
    /// ```
    /// # extern crate shm_core as mp;
    /// use mp::{Semaphore, SemaphoreError};
    ///
    /// let connections = Semaphore::new(2)?;
    /// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// runtime.block_on(async {
    ///     let tasks: Vec<_> = (0..10)
    ///         .map(|_| {
    ///             let connections = connections.clone();
    ///             tokio::spawn(async move {
    ///                 let _permit = connections.acquire_async().await?;
    ///                 tokio::task::yield_now().await; // at most two tasks are here
    ///                 Ok::<_, SemaphoreError>(())
    ///             })
    ///         })
    ///         .collect();
    ///     for task in tasks {
    ///         task.await??;
    ///     }
    ///     Ok::<_, Box<dyn std::error::Error>>(())
    /// })?;
    /// assert_eq!(connections.available(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn acquire_async(&self) -> Result<Permit<'_>, SemaphoreError> {
        tokio::task::coop::consume_budget().await;
        let mut wait = Wait::default();
        loop {
            // In this order: see `permits`.
            let seen = self.words.signal().get();
            let own = Stamp::current().to_bits();
            if let Some(at) = self.permits().claim(own, self.hint()) {
                return Ok(self.permit(at, own));
            }
            let words = || -> Arc<dyn Source> { Arc::new(Words(self.words.clone())) };
            wait.until_called(self.words.signal(), Order::OneByOne, seen, words).await?;
        }
    }
}

impl BoundedSemaphore {
    /// Like [`Semaphore::acquire_async`]. Feature `tokio`.
    ///
    /// # Errors
    /// [`SemaphoreError::Runtime`], like [`Semaphore::acquire_async`].
    ///
    /// # Panics
    /// The same as [`Semaphore::acquire_async`].
    pub async fn acquire_async(&self) -> Result<Permit<'_>, SemaphoreError> {
        self.inner.acquire_async().await
    }
}

//! Waiting in tasks of a tokio runtime: operations that do not block are tried again until they succeed.
//!
//! [`Watched::attempt`] tries an operation, and if it would block, waits until a descriptor reports news, or until
//! [`LOOK_AGAIN`] has passed. The timer is needed because readiness cannot be trusted alone: a SEQPACKET socket counts as
//! writable only when it is three quarters empty, and a process can be killed between a change and its announcement.
//!
//! # Why no wake-up is lost, and none is consumed
//! A task first registers as a waiter, then tries the operation, and only then sleeps. So news that come after the attempt
//! find the waiter. News wake all waiters of a descriptor, in every process that watches it, and each of them tries again. So
//! a task that is dropped while it waits takes nothing away from the others. For the same reason, any task may clear the
//! readiness that tokio remembers: whoever comes later looks for itself.
//!
//! The operation runs inside one call of `poll`. If it succeeds, the future is ready in that same call. So a future that is
//! dropped before it is ready has done nothing.
//!
//! # Locks
//! A runtime's thread must not wait for a lock that a stopped process holds. Such an operation reports
//! [`Attempt::Crowded`]. Then the task lets other tasks run and tries again, first at once, then after [`CROWDED_PAUSE`].
//!
//! # Forks
//! A forked child shares the kernel's epoll instance with its parent. If it added, removed or received anything there, it
//! would disturb the parent, whose runtime even follows the pointers that it finds in it. So a child uses nothing that its
//! parent registered, leaves it open, and gets [`RuntimeError::Forked`] from a runtime in which its parent registered
//! something. `mp_sys::child::fork` refuses to fork beside an epoll instance that it sees. So this matters only after forks by
//! other means.

mod registered;
mod runtimes;
mod stream;
mod timer;
mod watched;

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::BorrowedFd;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::task::coop::consume_budget;

pub use self::stream::repeated;
pub use self::watched::{BothWays, News, Watched};
use crate::OsError;
use crate::fork::Epoch;

/// The longest that a task waits before it tries again without news. It is the slice of a blocked thread, so tasks also go
/// on within 100 ms of a death.
pub const LOOK_AGAIN: Duration = crate::futex::SLICE;
/// The pause before the next attempt, if somebody keeps a lock for long. Tokio's timers count in milliseconds.
pub const CROWDED_PAUSE: Duration = Duration::from_millis(1);
/// How often a task only lets the others run before it pauses.
const TURNS_GIVEN: u32 = 4;
/// How often readiness is cleared in a row. A descriptor that is ready again each time reports an end that cannot be cleared.
const CLEARED_IN_A_ROW: u32 = 3;

/// The outcome of an operation that does not block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt<T> {
    /// The operation is done, with success or with an error that waiting does not change.
    Done(T),
    /// The operation has to wait for another process.
    Later,
    /// Somebody holds a lock that the operation needs, usually for a moment.
    Crowded,
}

/// The reason why a task cannot wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The future has to wait, and is not polled in a tokio runtime.
    #[error("waiting needs a tokio runtime, and there is none here")]
    NoRuntime,
    /// The runtime was built without `enable_io`. Tokio reports that by a panic, which is caught. So the program's panic
    /// hook prints it first, and a program with `panic = "abort"` ends.
    #[error("the tokio runtime has no I/O driver: call `enable_io` or `enable_all` when you build it")]
    NoIo,
    /// The runtime was built without `enable_time`. Tokio reports that in the same way.
    #[error("the tokio runtime has no timer: call `enable_time` or `enable_all` when you build it")]
    NoTime,
    /// The runtime is shutting down.
    #[error("the tokio runtime is shutting down")]
    ShuttingDown,
    /// The runtime belongs to the process that this one was forked from.
    #[error("the tokio runtime belongs to the process that this one was forked from: build another one")]
    Forked,
    /// The kernel returned an error, for example `EMFILE`, `ENOMEM`, or `ENOSPC` for too many watched descriptors.
    #[error("the descriptor cannot be watched: {0}")]
    System(OsError),
}

impl From<io::Error> for RuntimeError {
    fn from(error: io::Error) -> Self {
        // Only the kernel's errors have a number, and tokio has one error of its own.
        if error.raw_os_error().is_some() { Self::System(error.into()) } else { Self::ShuttingDown }
    }
}

impl Watched {
    /// Tries `operation` until it is done. While it would block, waits for news of `file`, or until [`LOOK_AGAIN`] has
    /// passed. `file` is the same descriptor in each call for one `Watched`.
    ///
    /// If the first attempt succeeds, nothing is registered, and no runtime is needed.
    ///
    /// # Errors
    /// [`RuntimeError`]; the operation is not done.
    pub async fn attempt<T>(
        &self,
        file: BorrowedFd<'_>,
        mut operation: impl FnMut() -> Attempt<T>,
    ) -> Result<T, RuntimeError> {
        let is_crowded = match first(&mut operation).await {
            Attempt::Done(value) => return Ok(value),
            Attempt::Crowded => true,
            Attempt::Later => false,
        };
        self.attempt_again(file, is_crowded, operation).await
    }

    /// Does the same after a first attempt of the caller, which was crowded or has to wait.
    ///
    /// # Errors
    /// As for [`attempt`](Self::attempt).
    pub async fn attempt_again<T>(
        &self,
        file: BorrowedFd<'_>,
        mut is_crowded: bool,
        mut operation: impl FnMut() -> Attempt<T>,
    ) -> Result<T, RuntimeError> {
        let mut turns = 0;
        loop {
            if is_crowded {
                back_off(&mut turns, CROWDED_PAUSE).await?;
            } else if let Some(outcome) = self.wait(file, &mut turns, &mut operation).await? {
                match outcome {
                    Attempt::Done(value) => return Ok(value),
                    // Nobody has waited yet.
                    _ => is_crowded = true,
                }
                continue;
            }
            is_crowded = match first(&mut operation).await {
                Attempt::Done(value) => return Ok(value),
                Attempt::Crowded => true,
                Attempt::Later => false,
            };
        }
    }

    /// Registers, tries once more, and waits if that would block. Returns the outcome of the attempt otherwise.
    async fn wait<T>(
        &self,
        file: BorrowedFd<'_>,
        turns: &mut u32,
        operation: &mut impl FnMut() -> Attempt<T>,
    ) -> Result<Option<Attempt<T>>, RuntimeError> {
        let registered = self.registered(file)?;
        for _ in 0..CLEARED_IN_A_ROW {
            let mut news = pin!(registered.news());
            // The first poll registers this task as a waiter, unless there are news. Those are older than the next
            // attempt, and are cleared.
            if let Poll::Ready(old) = poll_once(news.as_mut()).await {
                old?;
                continue;
            }
            match operation() {
                Attempt::Later => {}
                outcome => return Ok(Some(outcome)),
            }
            until_news(news).await?;
            *turns = 0;
            return Ok(None);
        }
        back_off(turns, LOOK_AGAIN).await?;
        Ok(None)
    }
}

/// Tries `operation` once, for a caller that prepares something before it waits. If the task has run for long, it lets the
/// others run first.
pub async fn first<T>(operation: impl FnOnce() -> Attempt<T>) -> Attempt<T> {
    consume_budget().await;
    operation()
}

/// Tries `operation` until it is done, for operations that no descriptor reports. Pauses between two attempts: first for
/// `shortest`, and then for twice as long each time, up to [`LOOK_AGAIN`].
///
/// # Errors
/// [`RuntimeError`]; the operation is not done.
pub async fn attempt_by_timer<T>(
    shortest: Duration,
    mut operation: impl FnMut() -> Attempt<T>,
) -> Result<T, RuntimeError> {
    let (mut turns, mut next) = (0, shortest);
    loop {
        consume_budget().await;
        let is_crowded = match operation() {
            Attempt::Done(value) => return Ok(value),
            Attempt::Crowded => true,
            Attempt::Later => false,
        };
        if is_crowded {
            back_off(&mut turns, CROWDED_PAUSE).await?;
        } else {
            pause(next).await?;
            next = next.saturating_mul(2).min(LOOK_AGAIN);
            turns = 0;
        }
    }
}

/// Waits for `duration` by the runtime's timer.
///
/// # Errors
/// [`RuntimeError::NoRuntime`], [`RuntimeError::NoTime`], [`RuntimeError::Forked`]; [`RuntimeError::ShuttingDown`] if the runtime
/// in which it was first polled ends meanwhile.
pub async fn pause(duration: Duration) -> Result<(), RuntimeError> {
    let runtime = runtimes::with_timer()?;
    let epoch = Epoch::current();
    let mut sleep = pin!(tokio::time::sleep(duration));
    poll_fn(|cx| {
        if !epoch.is_current() {
            return Poll::Ready(Err(RuntimeError::Forked));
        }
        if !runtimes::is_running(runtime) {
            return Poll::Ready(Err(RuntimeError::ShuttingDown));
        }
        timer::poll(sleep.as_mut(), cx)
    })
    .await
}

/// Lets other tasks run, and pauses for `then` if that did not help several times.
async fn back_off(turns: &mut u32, then: Duration) -> Result<(), RuntimeError> {
    *turns = turns.saturating_add(1);
    if *turns > TURNS_GIVEN {
        return pause(then).await;
    }
    tokio::task::yield_now().await;
    Ok(())
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Waits until there are news, or [`LOOK_AGAIN`] has passed.
async fn until_news<F>(mut news: Pin<&mut F>) -> Result<(), RuntimeError>
where
    F: Future<Output = Result<(), RuntimeError>>,
{
    let epoch = Epoch::current();
    let mut sleep = pin!(tokio::time::sleep(LOOK_AGAIN));
    poll_fn(|cx| {
        if !epoch.is_current() {
            return Poll::Ready(Err(RuntimeError::Forked));
        }
        match news.as_mut().poll(cx) {
            // If the runtime has ended, the descriptor says so first.
            Poll::Pending => timer::poll(sleep.as_mut(), cx),
            outcome => outcome,
        }
    })
    .await
}

#[cfg(test)]
mod tests;

//! Timers of a runtime, which may end before they do.
//!
//! A timer of tokio panics if it is polled after its runtime has ended, for example in another runtime. Here, that is an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Sleep;

use super::RuntimeError;

/// Polls a timer.
///
/// # Errors
/// [`RuntimeError::ShuttingDown`] if its runtime has ended. Tokio reports that by a panic, so callers look first whether they know
/// that it has. Then only one that ends in this very moment, in another thread, is found here.
pub(super) fn poll(sleep: Pin<&mut Sleep>, context: &mut Context<'_>) -> Poll<Result<(), RuntimeError>> {
    let polled = catch_unwind(AssertUnwindSafe(|| sleep.poll(context)));
    polled.map_or(Poll::Ready(Err(RuntimeError::ShuttingDown)), |polled| polled.map(Ok))
}

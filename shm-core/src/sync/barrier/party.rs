//! [`Party`]: a place that a process keeps from round to round.

use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::fork::Epoch;

use crate::error::BarrierError;
use crate::sync::barrier::Barrier;
use crate::sync::barrier::places::Place;

/// A place that this process registered in advance. Dropping it gives the place back. A thread that is waiting there goes on
/// waiting.
///
/// It belongs to the process: any thread may wait with it or drop it. [`Barrier::wait`] in this process uses it as well, if
/// no other thread waits there.
///
/// # Fork safety
/// In a forked child it is not registered: [`wait`](Self::wait) takes a separate place for the child, and dropping it does
/// nothing.
///
/// # Crash
/// The barrier breaks if the process ends without dropping this: by a kill, `std::process::exit` or `std::mem::forget`.
pub struct Party<'a> {
    barrier: &'a Barrier,
    place: Place,
    stamp: u64,
    pub(super) registered_in: Epoch,
}

impl<'a> Party<'a> {
    /// Wraps a place that this process has just registered.
    pub(super) fn new(barrier: &'a Barrier, place: Place, stamp: u64) -> Self {
        Self { barrier, place, stamp, registered_in: Epoch::current() }
    }

    /// Like [`Barrier::wait`], but at the place of this party.
    ///
    /// # Errors
    /// The same as [`Barrier::wait`].
    ///
    /// # Panics
    /// The same as [`Barrier::wait`].
    pub fn wait(&self) -> Result<usize, BarrierError> {
        self.barrier.wait_until(Some(self.place), self.barrier.default_deadline())
    }

    /// Like [`Barrier::wait_timeout`], but at the place of this party.
    ///
    /// # Errors
    /// The same as [`Barrier::wait_timeout`].
    ///
    /// # Panics
    /// The same as [`Barrier::wait`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, BarrierError> {
        self.barrier.wait_until(Some(self.place), Deadline::after(timeout))
    }
}

impl Drop for Party<'_> {
    fn drop(&mut self) {
        // In a forked child, the place belongs to its parent.
        if !self.registered_in.is_current() {
            return;
        }
        if let Err(error) = self.barrier.rounds().leave(self.place, self.stamp) {
            tracing::debug!(%error, "a party stays registered");
        }
    }
}

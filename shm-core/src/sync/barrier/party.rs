//! [`Party`]: a place that a process keeps from round to round.

use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::fork::Epoch;

use crate::error::BarrierError;
use crate::sync::barrier::Barrier;
use crate::sync::barrier::places::Place;

/// A place that this process registered in advance. Dropping it gives the place back; a thread that waits there just now goes
/// on waiting.
///
/// It belongs to the process: any thread may wait with it or drop it, and a wait of the process by [`Barrier::wait`] uses it as
/// well, if nobody else waits there.
///
/// # Fork safety
/// It does nothing in a forked child, where [`wait`](Self::wait) takes a place of the child's own.
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
    /// A place that this process has just registered.
    pub(super) fn new(barrier: &'a Barrier, place: Place, stamp: u64) -> Self {
        Self { barrier, place, stamp, registered_in: Epoch::current() }
    }

    /// As [`Barrier::wait`], at the place of this party.
    ///
    /// # Errors
    /// As [`Barrier::wait`].
    ///
    /// # Panics
    /// As [`Barrier::wait`].
    pub fn wait(&self) -> Result<usize, BarrierError> {
        self.barrier.wait_until(Some(self.place), self.barrier.default_deadline())
    }

    /// As [`Barrier::wait_timeout`], at the place of this party.
    ///
    /// # Errors
    /// As [`Barrier::wait_timeout`].
    ///
    /// # Panics
    /// As [`Barrier::wait`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, BarrierError> {
        self.barrier.wait_until(Some(self.place), Deadline::after(timeout))
    }
}

impl Drop for Party<'_> {
    fn drop(&mut self) {
        // In a forked child, the place is its parent's.
        if !self.registered_in.is_current() {
            return;
        }
        if let Err(error) = self.barrier.rounds().leave(self.place, self.stamp) {
            tracing::debug!(%error, "a party stays registered");
        }
    }
}

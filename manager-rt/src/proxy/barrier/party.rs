//! [`Party`]: a place that a process keeps from round to round.

use std::fmt;
use std::time::Duration;

use mp_sys::fork::Epoch;

use crate::error::BarrierError;
use crate::proto::{BarrierOp, Op, Wait};
use crate::proxy::barrier::Barrier;

/// A place that this process registered in advance. Dropping it releases the place; a thread that is waiting there
/// keeps waiting.
///
/// The place belongs to the process: any thread may wait with it or drop it. A call of [`Barrier::wait`] by this
/// process uses the place too.
///
/// # Fork safety
/// It does nothing in a forked child. There, [`wait`](Self::wait) takes the child's own place.
///
/// # Crash
/// The barrier breaks if the process ends without dropping the `Party`, or loses its connection to the manager. Dropping
/// a `Party` whose connection is lost does nothing: the place has ended, and one that the process has registered over a
/// new connection stays.
pub struct Party<'a> {
    pub(in crate::proxy) barrier: &'a Barrier,
    /// What all places of this process's connection have in common.
    token: u64,
    registered_in: Epoch,
}

impl<'a> Party<'a> {
    /// Wraps a place that this process has just registered.
    pub(super) fn new(barrier: &'a Barrier, token: u64) -> Self {
        Self { barrier, token, registered_in: Epoch::current() }
    }

    /// As [`Barrier::wait`].
    ///
    /// # Errors
    /// As [`Barrier::wait`].
    ///
    /// # Panics
    /// As [`Barrier::wait`].
    pub fn wait(&self) -> Result<usize, BarrierError> {
        self.barrier.wait()
    }

    /// As [`Barrier::wait_timeout`].
    ///
    /// # Errors
    /// As [`Barrier::wait_timeout`].
    ///
    /// # Panics
    /// As [`Barrier::wait`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, BarrierError> {
        self.barrier.wait_timeout(timeout)
    }
}

impl Drop for Party<'_> {
    fn drop(&mut self) {
        // In a forked child, the place still belongs to the parent.
        if !self.registered_in.is_current() {
            return;
        }
        let handle = &self.barrier.handle;
        if let Err(error) = handle.call(Op::Barrier(BarrierOp::Withdraw { token: self.token }), Wait::No) {
            tracing::warn!(barrier = %handle.id(), %error, "a place was not given back");
        }
    }
}

impl fmt::Debug for Party<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Party({:?})", self.barrier)
    }
}

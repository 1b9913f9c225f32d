//! [`Barrier`]: a meeting point.

use std::time::Duration;

use crate::error::{BarrierError, ObjectError};
use crate::proto::frame::Wait;
use crate::proto::{BarrierOp, Op};
use crate::proxy::handle::within;
use crate::proxy::{Handle, proxy, read};

/// A point at which a number of parties wait for each other.
///
/// | property | |
/// |---|---|
/// | a party is | a thread of a process; it registers by its first wait |
/// | again | the next round begins when all have met |
/// | recovers | the death of a registered party, waiting or not, breaks the barrier at once |
/// | drop | gives the proxy up: a process that gives up its last one comes no more, and breaks nothing |
///
/// # Fork safety
/// A forked child uses the proxy that it inherited, and is a party of its own.
///
/// # Crash
/// All who wait get [`BarrierError::Broken`], and so does everybody until [`reset`](Self::reset).
///
/// # Source
/// Python's `multiprocessing.Manager().Barrier`, at which everybody waits for ever for a party that was killed.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// use mp::manager::Manager;
///
/// let barrier = Manager::in_process()?.barrier(2)?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| barrier.wait().unwrap());
///     let index = barrier.wait().unwrap(); // 0 or 1: each party has another one
///     assert!(index < 2);
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Barrier {
    handle: Handle,
}

proxy!(Barrier);

impl Barrier {
    /// Waits until all parties wait, and gives the order in which this one came: 0 for the first.
    ///
    /// # Errors
    /// [`BarrierError::Broken`] if a party died or timed out, or somebody called `abort` or `reset`;
    /// [`Fault::TooMany`](crate::proto::Fault::TooMany) for more threads than there are parties.
    pub fn wait(&self) -> Result<usize, BarrierError> {
        self.wait_for(Wait::Forever)
    }

    /// As [`wait`](Self::wait), for at most `timeout` (`Duration::MAX` waits for ever). A party that gives up breaks the
    /// barrier.
    ///
    /// # Errors
    /// [`BarrierError::TimedOut`]; else as [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, BarrierError> {
        self.wait_for(within(timeout))
    }

    fn wait_for(&self, wait: Wait) -> Result<usize, BarrierError> {
        let reply = self.handle.call(Op::Barrier(BarrierOp::Wait), wait)?;
        Ok(read::count(self.handle.backend(), reply)?)
    }

    /// Breaks the barrier: everybody who waits, or will, gets [`BarrierError::Broken`], until [`reset`](Self::reset).
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn abort(&self) -> Result<(), ObjectError> {
        self.handle.ask(Op::Barrier(BarrierOp::Abort), read::done)
    }

    /// Makes the barrier as good as new: whoever waits gets [`BarrierError::Broken`], and the next round begins.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn reset(&self) -> Result<(), ObjectError> {
        self.handle.ask(Op::Barrier(BarrierOp::Reset), read::done)
    }

    /// Whether the barrier is broken.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> Result<bool, ObjectError> {
        self.handle.ask(Op::Barrier(BarrierOp::IsBroken), read::bool)
    }

    /// The number of parties.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn parties(&self) -> Result<usize, ObjectError> {
        self.handle.ask(Op::Barrier(BarrierOp::Parties), read::count)
    }

    /// How many wait at this moment.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn n_waiting(&self) -> Result<usize, ObjectError> {
        self.handle.ask(Op::Barrier(BarrierOp::Waiting), read::count)
    }
}

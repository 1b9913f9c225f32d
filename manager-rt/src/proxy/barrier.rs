//! [`Barrier`]: a meeting point.

mod party;

use std::sync::Arc;
use std::time::Duration;

use mp_sys::fork::Epoch;

pub use self::party::Party;
use crate::count::index_of;
use crate::error::{BarrierError, ObjectError};
use crate::proto::{BarrierOp, Kind, Op, Reply, Wait};
use crate::proxy::handle::within;
use crate::proxy::lock::Granted;
use crate::proxy::{Handle, Proxy, read, travel, travels};

/// A point at which a fixed number of parties wait for each other.
///
/// A process takes a place for each of its threads that calls [`wait`](Self::wait), and gives it back when the round ends. So
/// one barrier serves any number of sets of processes, one after another, and a process that has passed may end at any time. A
/// process that registers by [`party`](Self::party) keeps its place until it drops the [`Party`].
///
/// A round needs the processes that have a place. If one of them dies, the barrier breaks, so the others do not wait in
/// vain:
///
/// | a process is killed | then |
/// |---|---|
/// | while it waits | the barrier breaks |
/// | while it has a [`Party`] | the barrier breaks, whether the process waits or not; so does ending without dropping the `Party` |
/// | while it runs the [action](Self::with_action) | the barrier breaks |
/// | after it has passed, without a `Party` | nothing: its place is free for another process |
///
/// Register if the others must learn that a process died on its way to the next round. Otherwise they wait for another process
/// to come in its place, as they would in Python.
///
/// | property | |
/// |---|---|
/// | reuse | the next round begins when all parties have met |
/// | recovers | at once: the server sees the end of a connection |
/// | drop | releases the proxy; without a name, the object ends with its last proxy |
///
/// # Fork safety
/// A forked child uses the inherited proxy, and takes its own place. An inherited [`Party`] does nothing in the child.
///
/// # Crash
/// The table above says which deaths break the barrier. Then all waiters get [`BarrierError::Broken`], and so does
/// every later caller until [`reset`](Self::reset).
///
/// # Source
/// Python's `multiprocessing.Manager().Barrier`. There, all parties wait for ever for one that was killed, and the
/// action runs in the server.
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
    pub(super) action: Option<Arc<dyn Fn() + Send + Sync>>,
    pub(super) timeout: Option<Duration>,
}

impl Proxy for Barrier {
    const KIND: Kind = Kind::Barrier;

    fn print() -> u64 {
        travel::print_of::<()>(Self::KIND)
    }

    fn over(handle: Handle) -> Self {
        Self { handle, action: None, timeout: None }
    }

    fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Clone for Barrier {
    /// A second proxy, with the same action and the same default timeout.
    fn clone(&self) -> Self {
        let (handle, action) = (self.handle.clone(), self.action.clone());
        Self { handle, action, timeout: self.timeout }
    }
}

travels!(Barrier);

impl Barrier {
    /// Sets an action that one party runs in each round before the others go on. The last party to arrive runs it, in
    /// its own process.
    ///
    /// The action belongs to this proxy and its clones. It does not travel with the proxy, and the server does not know
    /// it. Set it on every party's proxy, since any of them may arrive last.
    ///
    /// The others wait while the action runs. If it panics, or its process dies, the barrier breaks; a panic also
    /// continues in the party that ran the action. If the barrier breaks for another reason, the action runs to its
    /// end, and its party then gets [`BarrierError::Broken`]. The action may use the barrier, but must not wait at it:
    /// it would wait for itself.
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// use mp::manager::Manager;
    ///
    /// let rounds = Arc::new(AtomicU32::new(0));
    /// let counted = Arc::clone(&rounds);
    /// let barrier = Manager::in_process()?.barrier(2)?.with_action(move || {
    ///     counted.fetch_add(1, Ordering::Relaxed);
    /// });
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| barrier.wait().unwrap());
    ///     barrier.wait().unwrap();
    /// });
    /// assert_eq!(rounds.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_action(mut self, action: impl Fn() + Send + Sync + 'static) -> Self {
        self.action = Some(Arc::new(action));
        self
    }

    /// Sets the default timeout of [`wait`](Self::wait) for this proxy and its clones.
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// use std::time::Duration;
    ///
    /// use mp::manager::{BarrierError, Manager};
    ///
    /// let barrier = Manager::in_process()?.barrier(2)?.with_timeout(Duration::from_millis(10));
    /// assert_eq!(barrier.wait(), Err(BarrierError::TimedOut));
    /// assert_eq!(barrier.wait(), Err(BarrierError::Broken), "a party that gives up breaks it");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Registers a place for this process in advance. The process keeps the place from round to round, and its death
    /// breaks the barrier even while it does not wait.
    ///
    /// # Errors
    /// [`BarrierError::Broken`]; [`Fault::TooMany`](crate::proto::Fault::TooMany) if all places are taken.
    pub fn party(&self) -> Result<Party<'_>, BarrierError> {
        let granted = Granted::of(&self.handle.call(Op::Barrier(BarrierOp::Enrol), Wait::No)?)?;
        Ok(Party::new(self, granted.token))
    }

    /// Waits until all parties wait, and returns the position in which this one arrived: 0 for the first. The wait ends
    /// after the [default timeout](Self::with_timeout), if one is set.
    ///
    /// # Errors
    /// [`BarrierError::Broken`] if a party died or timed out, the action failed, or `abort` or `reset` was called;
    /// [`Fault::TooMany`](crate::proto::Fault::TooMany) if other processes have registered all places;
    /// [`BarrierError::TimedOut`].
    ///
    /// # Panics
    /// If the [action](Self::with_action) panics.
    pub fn wait(&self) -> Result<usize, BarrierError> {
        self.wait_for(self.timeout.map_or(Wait::Forever, within))
    }

    /// Like [`wait`](Self::wait), but waits at most `timeout` (`Duration::MAX` waits for ever). A party that times out
    /// breaks the barrier. A caller that arrives while the action runs is a party of the next round. If it times out
    /// before that round begins, it breaks nothing.
    ///
    /// # Errors
    /// [`BarrierError::TimedOut`]; otherwise as [`wait`](Self::wait).
    ///
    /// # Panics
    /// If the [action](Self::with_action) panics.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, BarrierError> {
        self.wait_for(within(timeout))
    }

    fn wait_for(&self, wait: Wait) -> Result<usize, BarrierError> {
        let acts = self.action.is_some();
        match (self.handle.call(Op::Barrier(BarrierOp::Wait { acts }), wait)?, &self.action) {
            (Reply::Acts { index, round }, Some(action)) => {
                self.act(&**action, round)?;
                Ok(index_of(index))
            }
            (reply, _) => Ok(read::count(self.handle.backend(), reply)?),
        }
    }

    /// Runs the action, then lets the others go on.
    fn act(&self, action: &dyn Fn(), round: u64) -> Result<(), BarrierError> {
        let mut acting = Acting { barrier: self, started_in: Epoch::current(), has_returned: false };
        action();
        acting.has_returned = true;
        // A child that the action forked is not a party.
        if !acting.started_in.is_current() {
            return Err(BarrierError::Broken);
        }
        Ok(self.handle.ask(Op::Barrier(BarrierOp::EndRound { round }), read::done)?)
    }

    /// Breaks the barrier: all current and later waiters get [`BarrierError::Broken`] until [`reset`](Self::reset).
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn abort(&self) -> Result<(), ObjectError> {
        self.handle.ask(Op::Barrier(BarrierOp::Abort), read::done)
    }

    /// Resets the barrier: all current waiters get [`BarrierError::Broken`], and the next round begins.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn reset(&self) -> Result<(), ObjectError> {
        self.handle.ask(Op::Barrier(BarrierOp::Reset), read::done)
    }

    /// Returns `true` if the barrier is broken.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> Result<bool, ObjectError> {
        self.handle.ask(Op::Barrier(BarrierOp::IsBroken), read::bool)
    }

    /// Returns the number of parties.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn parties(&self) -> Result<usize, ObjectError> {
        self.handle.ask(Op::Barrier(BarrierOp::Parties), read::count)
    }

    /// Returns the number of parties that wait now. A party that runs the action does not count.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn n_waiting(&self) -> Result<usize, ObjectError> {
        self.handle.ask(Op::Barrier(BarrierOp::Waiting), read::count)
    }
}

/// A party that runs the action. If the action panics, dropping this breaks the barrier.
struct Acting<'a> {
    barrier: &'a Barrier,
    started_in: Epoch,
    has_returned: bool,
}

impl Drop for Acting<'_> {
    fn drop(&mut self) {
        // In a child that the action forked, the round still belongs to the parent.
        if self.has_returned || !self.started_in.is_current() {
            return;
        }
        if let Err(error) = self.barrier.abort() {
            let barrier = self.barrier.handle.id();
            tracing::warn!(%barrier, %error, "a barrier whose action panicked was not broken");
        }
    }
}

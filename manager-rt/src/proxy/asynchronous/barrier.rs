//! The async forms of [`Barrier`]'s methods.

use mp_sys::fork::Epoch;

use crate::count::index_of;
use crate::error::{BarrierError, ObjectError};
use crate::proto::{BarrierOp, Op, Reply, Wait};
use crate::proxy::handle::within;
use crate::proxy::{Barrier, Handle, Party, Proxy, read};

impl Barrier {
    /// As [`wait`](Self::wait), in a task of a tokio runtime. The [action](Self::with_action) runs in the thread that polls
    /// the future.
    ///
    /// If the future is dropped while it waits, the barrier breaks, as if the party had died.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    ///
    /// # Panics
    /// If the [action](Self::with_action) panics.
    pub fn wait_async(&self) -> impl Future<Output = Result<usize, BarrierError>> + Send {
        let wait = self.timeout.map_or(Wait::Forever, within);
        let acts = self.action.is_some();
        let pending = self.handle().call_async(Op::Barrier(BarrierOp::Wait { acts }), wait);
        async move {
            match (pending.await?, &self.action) {
                (Reply::Acts { index, round }, Some(action)) => {
                    self.act_async(&**action, round).await?;
                    Ok(index_of(index))
                }
                (reply, _) => Ok(read::count(self.handle().backend(), reply)?),
            }
        }
    }

    /// Runs the action, then lets the others go on.
    async fn act_async(&self, action: &(dyn Fn() + Send + Sync), round: u64) -> Result<(), BarrierError> {
        let mut acting =
            Acting { handle: self.handle(), round, started_in: Epoch::current(), step: Step::Runs };
        action();
        // A child that the action forked is not a party.
        if !acting.started_in.is_current() {
            return Err(BarrierError::Broken);
        }
        acting.step = Step::Ends;
        let ended = self.handle().ask_async(Op::Barrier(BarrierOp::EndRound { round }), read::done).await;
        acting.step = Step::Over;
        ended
    }

    /// As [`abort`](Self::abort), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn abort_async(&self) -> impl Future<Output = Result<(), ObjectError>> + Send {
        self.handle().ask_async(Op::Barrier(BarrierOp::Abort), read::done)
    }

    /// As [`reset`](Self::reset), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn reset_async(&self) -> impl Future<Output = Result<(), ObjectError>> + Send {
        self.handle().ask_async(Op::Barrier(BarrierOp::Reset), read::done)
    }

    /// As [`is_broken`](Self::is_broken), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn is_broken_async(&self) -> impl Future<Output = Result<bool, ObjectError>> + Send {
        self.handle().ask_async(Op::Barrier(BarrierOp::IsBroken), read::bool)
    }

    /// As [`n_waiting`](Self::n_waiting), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn n_waiting_async(&self) -> impl Future<Output = Result<usize, ObjectError>> + Send {
        self.handle().ask_async(Op::Barrier(BarrierOp::Waiting), read::count)
    }
}

impl Party<'_> {
    /// As [`Barrier::wait_async`].
    ///
    /// # Errors
    /// As for [`Barrier::wait`].
    ///
    /// # Panics
    /// As [`Barrier::wait_async`].
    pub fn wait_async(&self) -> impl Future<Output = Result<usize, BarrierError>> + Send {
        self.barrier.wait_async()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The action runs.
    Runs,
    /// The action has returned.
    Ends,
    /// The round has ended.
    Over,
}

/// A party that runs the action. Dropping this breaks the barrier if the action panicked. If the action has returned, it
/// ends the round, once more if that was under way.
struct Acting<'a> {
    handle: &'a Handle,
    round: u64,
    started_in: Epoch,
    step: Step,
}

impl Drop for Acting<'_> {
    fn drop(&mut self) {
        let op = match self.step {
            // In a child that the action forked, the round still belongs to the parent.
            _ if !self.started_in.is_current() => return,
            Step::Runs => BarrierOp::Abort,
            // The server refuses that if the round has ended.
            Step::Ends => BarrierOp::EndRound { round: self.round },
            Step::Over => return,
        };
        self.handle.post(Op::Barrier(op));
    }
}

//! The async forms of [`Condition`]'s methods.

use crate::backend::CallError;
use crate::count::count_of;
use crate::error::{LockResult, ObjectError};
use crate::proto::{ConditionOp, Op, Wait};
use crate::proxy::lock::Granted;
use crate::proxy::{Condition, Proxy, TaskGuard, read};

impl Condition {
    /// As [`wait`](Self::wait), in a task of a tokio runtime, with the guard of a lock that a task took.
    ///
    /// A task that waits for something in particular waits in a loop: `while !is_so { guard = condition.wait_async(guard).await?; }`.
    ///
    /// If the future is dropped before it is ready, the lock is released and not taken again, at any depth. A notification
    /// that the wait had used up goes to another waiter.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub fn wait_async<'g>(
        &self,
        guard: TaskGuard<'g>,
    ) -> impl Future<Output = LockResult<TaskGuard<'g>>> + Send {
        let op = ConditionOp::Wait { lock: guard.object_id(), token: guard.token() };
        let pending = guard.call_with(self.handle(), Op::Condition(op), Wait::Forever);
        async move {
            let mut waiting = Waiting { guard: Some(guard) };
            let granted = Granted::of(&pending.await?)?;
            // It is there until now.
            let guard = waiting.guard.take().ok_or(CallError::Protocol)?;
            guard.set_token(granted.token);
            granted.hand_over(guard)
        }
    }

    /// As [`notify`](Self::notify), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn notify_async(&self, count: usize) -> impl Future<Output = Result<usize, ObjectError>> + Send {
        let op = ConditionOp::Notify(count_of(count));
        self.handle().ask_async(Op::Condition(op), read::count)
    }

    /// As [`notify_all`](Self::notify_all), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn notify_all_async(&self) -> impl Future<Output = Result<usize, ObjectError>> + Send {
        self.notify_async(usize::MAX)
    }

    /// As [`n_waiting`](Self::n_waiting), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn n_waiting_async(&self) -> impl Future<Output = Result<usize, ObjectError>> + Send {
        self.handle().ask_async(Op::Condition(ConditionOp::Waiting), read::count)
    }
}

/// The guard of a task that waits for a notification. If the wait does not end with the lock, no guard of the task holds it.
struct Waiting<'g> {
    guard: Option<TaskGuard<'g>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(guard) = &self.guard {
            guard.lose();
        }
    }
}

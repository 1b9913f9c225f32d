//! A task's place in a hub, for as long as it waits there.

use std::sync::Arc;
use std::task::{Context, Poll};

use mp_sys::adaptive::Signal;
use mp_sys::deadline::Deadline;
use mp_sys::fork::Epoch;
use tokio::runtime::Handle;

use crate::asynchronous::hub::{Entered, Hub, Place};
use crate::asynchronous::{Order, Source, lane, runtimes};
use crate::error::RuntimeError;

/// A place of a task. Dropping it leaves the place, and lets the next task of its queue look.
#[derive(Debug)]
pub(super) struct Turn {
    hub: Arc<Hub>,
    place: Place,
    entered_in: Epoch,
}

impl Turn {
    /// Enters the queue of a word, which held `seen` when the task looked.
    pub(super) fn enter(
        signal: &Signal,
        order: Order,
        seen: u32,
        make: impl FnOnce() -> Arc<dyn Source>,
    ) -> Result<Self, RuntimeError> {
        let (handle, hub) = runtimes::current()?;
        let entered = hub.enter(signal, order, seen, make);
        Self::over(hub, &handle, entered)
    }

    /// Waits for a moment.
    pub(super) fn until(deadline: Deadline) -> Result<Self, RuntimeError> {
        let (handle, hub) = runtimes::current()?;
        let entered = hub.enter_alarm(deadline);
        Self::over(hub, &handle, entered)
    }

    fn over(hub: Arc<Hub>, handle: &Handle, entered: Option<Entered>) -> Result<Self, RuntimeError> {
        let Entered { place, to_start } = entered.ok_or(RuntimeError::ShuttingDown)?;
        let turn = Self { hub, place, entered_in: Epoch::current() };
        if let Some(lane) = to_start {
            lane::start(&turn.hub, handle, lane);
        }
        // A runtime that is ending starts no thread.
        if turn.is_over() { Err(RuntimeError::ShuttingDown) } else { Ok(turn) }
    }

    /// Returns whether its runtime has ended, so that nobody watches any more.
    pub(super) fn is_over(&self) -> bool {
        !self.entered_in.is_current() || self.hub.lock().is_over
    }

    /// Returns `Ready` when the task has to look.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        // In a forked child, a thread that it does not have may hold the hub's lock.
        if !self.entered_in.is_current() {
            return Poll::Ready(());
        }
        let mut old = None;
        let mut state = self.hub.lock();
        // A task without a place has been called: its runtime is ending, or its moment has come.
        let polled = state.waiter(self.place).map_or(Poll::Ready(()), |waiter| waiter.poll(cx, &mut old));
        drop(state);
        drop(old);
        polled
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.entered_in.is_current() {
            self.hub.leave(self.place);
        }
    }
}

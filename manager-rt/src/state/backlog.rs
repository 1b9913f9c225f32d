//! Steps: letting time pass, and doing what earlier calls have left.

use crate::proto::{Call, ConditionOp, ManagerOp, Op, Raw};
use crate::state::State;
use crate::state::kinds::Body;
use crate::state::step::{ClientId, Effects};
use crate::state::waiters::{Timer, WaiterId};
use crate::state::work::CALLER;

/// When to look again at a wait whose time is over, but which may have been answered in time, in nanoseconds.
const POSTPONED_NANOS: u64 = 1_000_000;

impl State {
    /// Lets time pass: waits whose time is over end. If they are many, the next call continues.
    pub fn advance(&mut self, now: u64, effects: &mut Effects) {
        self.begin(now);
        while !self.core.work.is_over()
            && let Some(timer) = self.core.waiters.pop_timer(now)
        {
            self.core.work.charge(CALLER);
            match timer {
                Timer::Waiter(waiter) => self.end_wait(waiter, now),
                Timer::Lease { object, token } => {
                    if let Some(Body::Lock(lock)) = self.body(object) {
                        lock.end_lease(token);
                        self.core.touch(object);
                    }
                }
                Timer::Bequest(bequest) => self.lapse(bequest),
                Timer::Transit(object) => self.core.registry.end_transit(object, now, &mut self.core.waiters),
            }
            self.settle(effects);
        }
    }

    /// Ends a wait whose time is over.
    fn end_wait(&mut self, waiter: WaiterId, now: u64) {
        let object = self.core.waiters.get(waiter).map(|waits| waits.object);
        if object.is_some_and(|object| self.is_held_up(object)) {
            // What it waits for may have happened in time.
            self.core.waiters.postpone(waiter, now.saturating_add(POSTPONED_NANOS));
        } else {
            self.expire(waiter);
        }
    }

    /// Does a step of the work that earlier calls have left: wakes callers, continues with long operations and the ends of clients, and frees
    /// what removed objects held. Returns `true` if there is more.
    pub fn tidy(&mut self, effects: &mut Effects) -> bool {
        if !self.core.has_backlog() {
            return false;
        }
        self.core.work.begin();
        self.core.work.has_backlog = false;
        self.serve_held_up();
        self.core.work.begin_part();
        self.resume_stalled();
        self.core.work.begin_part();
        self.core.wake();
        self.core.work.begin_part();
        self.continue_unfinished();
        self.core.work.begin_part();
        self.continue_endings();
        self.serve_touched();
        self.core.work.begin_part();
        self.core.bury();
        self.core.work.begin_part();
        self.drop_unreferenced();
        self.serve_touched();
        effects.answers.append(&mut self.core.outbox);
        self.core.has_backlog()
    }

    /// Puts calls back into their lines that have waited until their clients had room, as far as the step allows.
    fn resume_stalled(&mut self) {
        while let Some((waiter, object)) = self.core.next_with_room() {
            if let Some(body) = self.body(object) {
                body.resume(waiter);
            }
            self.core.touch(object);
        }
    }

    /// Returns `true` if an earlier step has left something to do, for [`tidy`](Self::tidy).
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        self.core.has_backlog()
    }

    /// Begins a step for an event at this time.
    #[inline]
    pub(super) fn begin(&mut self, now: u64) {
        self.core.reach(now);
        self.core.work.begin();
        self.core.work.has_backlog = self.core.has_backlog();
    }

    /// Returns `true` if a call has to wait for what earlier ones have left to do.
    pub(super) fn has_to_wait(&self, client: ClientId, call: &Call<Raw<'_>>) -> bool {
        if self.is_unfinished(client) {
            return true;
        }
        if !self.core.work.holds_up_any() {
            return false;
        }
        let other = match &call.op {
            Op::Condition(ConditionOp::Wait { lock, .. }) => Some(*lock),
            Op::Manager(ManagerOp::Remove { name }) => self.core.registry.named(name),
            _ => None,
        };
        self.is_held_up(call.object) || other.is_some_and(|other| self.is_held_up(other))
    }

    /// Returns the most units of work that the newest call or step has done, for tests and benchmarks.
    #[must_use]
    #[doc(hidden)]
    pub const fn units(&self) -> usize {
        self.core.work.done()
    }

    /// Sets the units of work of one step, for tests in which everything takes several steps.
    #[doc(hidden)]
    pub const fn set_step(&mut self, units: usize) {
        self.core.work.set_step(units);
    }
}

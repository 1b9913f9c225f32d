//! Waiting for an item, and for room.
//!
//! A waiting process holds no lock. If the other side runs on another CPU, it polls for a while. If the other side runs on
//! the same CPU, it lets that side run. After that it sleeps. A sleeper may be woken in place of another one, so it passes
//! the wake-up on when it is done.

use std::mem::ManuallyDrop;
use std::sync::atomic::Ordering;

use mp_sys::adaptive::{Budget, current_cpu};
use mp_sys::robust::Patience;

use crate::queue::config::Config;
use crate::queue::core::Core;
use crate::queue::doorbell;
use crate::queue::layout::{
    CONSUMER_CPU, DRAINED_BELL, FILLED_BELL, PRODUCER_CPU, Position, RECORD_HEADER_BYTES,
};
use crate::queue::refused::Refused;

impl Core {
    fn peer_cpu(&self, at: u64) -> Option<u32> {
        self.half_word(at).load(Ordering::Relaxed).checked_sub(1)
    }

    /// Waits until there may be an item after `head`. If the caller slept, other sleepers depend on the value that it
    /// returns.
    #[cold]
    pub(super) fn wait_for_item(
        &self,
        head: Position,
        patience: Patience,
    ) -> Result<Option<Woken<'_>>, Refused> {
        let is_there = || self.ring.tail().number != head.number || self.may_have_returned();
        // Read before the look for items: an item that was put before the close can still be got.
        let is_closed = self.is_closed();
        if is_there() {
            return Ok(None);
        }
        let unsignalled = self.unsignal(patience);
        if is_closed && !self.others_have_tasks(patience) {
            return Err(Refused::Closed);
        }
        if !matches!(patience, Patience::Until(_)) {
            // A caller that never waits has to look for dead workers here.
            self.look_for_the_dead(patience);
            if is_there() {
                return Ok(None);
            }
            if patience == Patience::TryOnce {
                // The runtime reports the descriptor only when it becomes readable again.
                unsignalled?;
            }
            return Err(Refused::NotNow);
        }
        let goes_on = || is_there() || (self.is_closed() && !is_closed);
        let woken = Woken { core: self, bell: FILLED_BELL };
        if self.peer_cpu(PRODUCER_CPU).is_some_and(|cpu| cpu != current_cpu()) {
            self.lull.pause(|| self.ring.tail().items_since(head));
        }
        self.wait(goes_on, &self.get_budget, (PRODUCER_CPU, CONSUMER_CPU), woken, patience)
    }

    /// Waits until a record of `record` bytes may fit.
    #[cold]
    pub(super) fn wait_for_room(
        &self,
        record: u64,
        patience: Patience,
    ) -> Result<Option<Woken<'_>>, Refused> {
        let goes_on = || self.seems_to_have_room(record) || self.is_closed();
        let woken = Woken { core: self, bell: DRAINED_BELL };
        self.wait(goes_on, &self.put_budget, (CONSUMER_CPU, PRODUCER_CPU), woken, patience)
    }

    pub(in crate::queue) fn is_full(&self) -> bool {
        !self.seems_to_have_room(RECORD_HEADER_BYTES)
    }

    fn seems_to_have_room(&self, record: u64) -> bool {
        let Config { max_items, max_bytes, .. } = self.config;
        u64::from(self.ring.len()) < max_items
            && (max_bytes == u64::MAX || self.ring.bytes().saturating_add(record) <= max_bytes)
    }

    fn wait<'a>(
        &self,
        goes_on: impl Fn() -> bool,
        budget: &Budget,
        (peer_cpu, own_cpu): (u64, u64),
        woken: Woken<'a>,
        patience: Patience,
    ) -> Result<Option<Woken<'a>>, Refused> {
        let bell = self.half_word(woken.bell);
        let woken_by_items = woken.bell == FILLED_BELL;
        // No other sleeper depends on this one before it has slept.
        let not_yet = ManuallyDrop::new(woken);
        let Patience::Until(deadline) = patience else {
            return Err(Refused::NotNow);
        };
        let peer = || self.peer_cpu(peer_cpu);
        if budget.spin(&goes_on, peer) {
            return Ok(None);
        }
        if woken_by_items {
            self.look_before_sleep(deadline);
        }
        if deadline.has_passed() {
            return if goes_on() { Ok(None) } else { Err(Refused::TimedOut) };
        }
        if peer() == Some(current_cpu()) && self.lull.give_a_turn(&goes_on) {
            return Ok(None);
        }
        self.half_word(own_cpu).store(current_cpu().wrapping_add(1), Ordering::Relaxed);
        if doorbell::sleep(bell, goes_on, deadline).is_over() {
            // The queue is idle, so this is the time to give back the memory that a peak has left.
            self.trim();
            self.look_for_the_dead(patience);
        }
        Ok(Some(ManuallyDrop::into_inner(not_yet)))
    }
}

/// A process that slept and was woken, perhaps in place of another sleeper. When it is done, with or without success, it
/// passes the bell on.
#[derive(Debug)]
pub(super) struct Woken<'a> {
    core: &'a Core,
    bell: u64,
}

impl Drop for Woken<'_> {
    fn drop(&mut self) {
        let core = self.core;
        doorbell::pass_on(core.half_word(self.bell), || {
            core.is_closed()
                || if self.bell == FILLED_BELL {
                    core.ring.len() > 0 || core.may_have_returned()
                } else {
                    core.seems_to_have_room(0)
                }
        });
    }
}

//! The event descriptor: readable whenever there is something to get.
//!
//! Once it is *armed*, a producer makes it readable before it commits, under the producers' lock, and whoever finds the
//! queue empty makes it unreadable, under the same lock. So a producer that is killed leaves it readable for nothing at
//! worst.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;

use mp_sys::crash;
use mp_sys::robust::Patience;

use crate::queue::core::Core;
use crate::queue::layout::ARMED;
use crate::queue::producer::Producer;
use crate::queue::ring::SIGNALLED;

impl Core {
    #[inline]
    pub(super) fn is_unarmed(&self) -> bool {
        self.half_word(ARMED).load(Ordering::Relaxed) == 0
    }

    /// Before a commit: makes the descriptor readable, if somebody polls it.
    #[inline]
    pub(super) fn signal(&self, producer: &Producer<'_>) {
        if !self.is_unarmed() && producer.held.load_word(SIGNALLED) == 0 {
            self.event.raise();
            crash::point();
            producer.held.store_word(SIGNALLED, 1);
            crash::point();
        }
    }

    /// Makes the descriptor unreadable if the queue is empty and open.
    pub(super) fn unsignal(&self) {
        if self.is_unarmed() {
            return;
        }
        // Not made unreadable: somebody polls once in vain.
        let Ok(producer) = self.produce(Patience::None) else {
            return;
        };
        if self.ring.len() == 0 && !self.may_have_returned() && !self.is_closed() {
            producer.held.store_word(SIGNALLED, 0);
            crash::point();
            self.event.lower();
        }
    }

    /// The descriptor to poll; armed from now on, for all processes.
    pub(in crate::queue) fn event(&self) -> BorrowedFd<'_> {
        if self.is_unarmed() {
            // Readable first: whoever dies in here leaves it readable for nothing, and nobody asleep beside an item.
            self.event.raise();
            crash::point();
            self.half_word(ARMED).store(1, Ordering::SeqCst);
            crash::point();
            // A producer that has not seen that has its lock: it has committed when the lock is free, and then the queue is not
            // empty.
            self.unsignal();
        }
        self.event.as_fd()
    }
}

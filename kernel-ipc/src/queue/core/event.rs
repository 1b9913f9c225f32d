//! The event descriptor: readable whenever there is something to get.
//!
//! Once the descriptor is *armed*, a producer makes it readable before it commits, under the producers' lock. A process
//! that finds the queue empty makes it unreadable, under the same lock. So at worst, a producer that is killed leaves it
//! readable although there is no item.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
#[cfg(feature = "tokio")]
use std::sync::atomic::fence;

use mp_sys::crash;
use mp_sys::robust::{AcquireError, Patience};

use crate::queue::core::Core;
use crate::queue::layout::{ARMED, TASKS_WAIT};
use crate::queue::producer::Producer;
use crate::queue::ring::SIGNALLED;

impl Core {
    #[inline]
    pub(super) fn is_unarmed(&self) -> bool {
        self.half_word(ARMED).load(Ordering::Relaxed) == 0
    }

    /// Makes the descriptor readable if it is armed. Called before a commit.
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
    ///
    /// # Errors
    /// Those of taking the lock. The descriptor stays readable, which costs a poller one needless look.
    pub(super) fn unsignal(&self, patience: Patience) -> Result<(), AcquireError> {
        if self.is_unarmed() {
            return Ok(());
        }
        // Nobody waits longer than a slice for this.
        let patience = if patience == Patience::TryOnce { patience } else { Patience::None };
        let producer = self.produce(patience)?;
        if self.ring.len() == 0 && !self.may_have_returned() && !self.is_closed() {
            producer.held.store_word(SIGNALLED, 0);
            crash::point();
            self.event.lower();
        }
        Ok(())
    }

    /// Wakes tasks that wait for room, or for the end of other tasks. Call it after a change that they wait for. The change
    /// must be a sequentially consistent operation.
    ///
    /// A task stores [`TASKS_WAIT`] and then looks once more, so either it sees the change, or the word is seen here. All of
    /// them wake up, and each one that goes on waiting stores the word again.
    #[inline]
    pub(super) fn wake_tasks(&self) {
        if self.half_word(TASKS_WAIT).load(Ordering::SeqCst) != 0 {
            self.wake_tasks_now();
        }
    }

    #[cold]
    fn wake_tasks_now(&self) {
        if self.half_word(TASKS_WAIT).swap(0, Ordering::SeqCst) != 0 {
            crash::point();
            self.event.wake_writers();
        }
    }

    /// Announces a task that is about to wait. It looks once more afterwards.
    #[cfg(feature = "tokio")]
    pub(super) fn announce_task(&self) {
        self.half_word(TASKS_WAIT).store(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Returns the descriptor, for waits that it need not be readable for.
    #[cfg(feature = "tokio")]
    pub(super) fn unarmed_event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Returns the descriptor to poll. It is armed from now on, for all processes.
    pub(in crate::queue) fn event(&self, patience: Patience) -> BorrowedFd<'_> {
        if self.is_unarmed() {
            // It becomes readable first. So a process that dies in here can leave it readable without an item, but never
            // unreadable with one.
            self.event.raise();
            crash::point();
            self.half_word(ARMED).store(1, Ordering::SeqCst);
            crash::point();
            // A producer that has not seen `ARMED` holds its lock. When the lock is free, it has committed, and the queue
            // is not empty.
            let _still_readable = self.unsignal(patience);
        }
        self.event.as_fd()
    }
}

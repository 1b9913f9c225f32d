//! The event descriptor: readable whenever there is something to get.
//!
//! Once the descriptor is *armed*, producers make it readable. A process that finds the queue empty makes it unreadable,
//! under the producers' lock. Who armed it decides when it becomes readable:
//!
//! | armed for | it becomes readable |
//! |---|---|
//! | pollers | before the commit, under the producers' lock |
//! | tasks only | after the commit, without the lock |
//!
//! So a producer that is killed may leave a poller with a readable descriptor and no item, but never the other way round.
//! Tasks find such an item by their timers. In return, a task on the producer's CPU, which runs at once when it is woken,
//! finds an item and a free lock.
//!
//! Once it is armed for pollers, it stays so.
//!
//! # Packets
//! For tasks, the word [`SIGNALLED`] counts the packets that were promised and not received. So nothing is received when
//! nothing is there. The count is exact, or too high if a producer was killed before it sent. It stops at
//! [`TAKEN_AT_ONCE`]: from then on, all packets are received each time.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
#[cfg(feature = "tokio")]
use std::sync::atomic::fence;

use mp_sys::crash;
use mp_sys::robust::{AcquireError, Patience};

use crate::queue::core::Core;
use crate::queue::flag::TAKEN_AT_ONCE;
use crate::queue::layout::{ARMED, TASKS_WAIT};
use crate::queue::producer::Producer;
use crate::queue::ring::SIGNALLED;

/// Values of [`ARMED`]: nobody waits,
const UNARMED: u32 = 0;
/// only tasks wait, which have timers,
#[cfg(feature = "tokio")]
const FOR_TASKS: u32 = 1;
/// or a process may poll the descriptor.
const FOR_POLLERS: u32 = 2;
/// A bit of [`SIGNALLED`]: the descriptor was made readable, or its producer is about to. The other bits count packets.
const RAISED: u64 = 1;
/// One packet in [`SIGNALLED`].
const PACKET: u64 = 2;

/// What a producer does after its commit, without the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "tasks wait for the news"]
pub(super) enum News {
    /// Nothing: nobody waits, or the descriptor is readable.
    Told,
    /// It makes the descriptor readable.
    Untold,
}

impl Core {
    /// Whether a process may poll the descriptor.
    #[inline]
    pub(super) fn is_polled(&self) -> bool {
        self.half_word(ARMED).load(Ordering::Relaxed) == FOR_POLLERS
    }

    /// Makes the descriptor readable if it is armed, or returns that this is to be done later. Called before a commit.
    #[inline]
    pub(super) fn signal(&self, producer: &Producer<'_>) -> News {
        match self.half_word(ARMED).load(Ordering::Relaxed) {
            UNARMED => News::Told,
            armed => self.signal_armed(producer, armed),
        }
    }

    fn signal_armed(&self, producer: &Producer<'_>, armed: u32) -> News {
        let word = producer.held.load_word(SIGNALLED);
        if word & RAISED != 0 {
            return News::Told;
        }
        if armed == FOR_POLLERS {
            self.event.raise();
            crash::point();
            producer.held.store_word(SIGNALLED, RAISED);
            crash::point();
            return News::Told;
        }
        let promised = word.saturating_add(PACKET).min(TAKEN_AT_ONCE.saturating_mul(PACKET));
        producer.held.store_word(SIGNALLED, promised | RAISED);
        crash::point();
        News::Untold
    }

    /// Makes the descriptor readable, if that is still to be done. Called after a commit, without a lock.
    #[inline]
    pub(super) fn tell(&self, news: News) {
        if news == News::Untold {
            crash::point();
            self.event.raise();
        }
    }

    /// Makes the descriptor unreadable if the queue is empty and open, and returns whether it is.
    ///
    /// # Errors
    /// Those of taking the lock. The descriptor stays readable, which costs a poller one needless look.
    pub(super) fn unsignal(&self, patience: Patience) -> Result<bool, AcquireError> {
        if self.half_word(ARMED).load(Ordering::Relaxed) == UNARMED {
            return Ok(true);
        }
        // Nobody waits longer than a slice for this.
        let patience = if patience == Patience::TryOnce { patience } else { Patience::None };
        let producer = self.produce(patience)?;
        let is_empty = self.ring.len() == 0 && !self.may_have_returned() && !self.is_closed();
        if is_empty {
            self.lower(&producer);
        }
        Ok(is_empty)
    }

    fn lower(&self, producer: &Producer<'_>) {
        let word = producer.held.load_word(SIGNALLED);
        let packets = word / PACKET;
        if self.is_polled() || packets >= TAKEN_AT_ONCE {
            producer.held.store_word(SIGNALLED, word & !RAISED);
            crash::point();
            self.event.lower();
        } else if word != 0 {
            producer.held.store_word(SIGNALLED, packets.saturating_mul(PACKET));
            crash::point();
            let left = packets.saturating_sub(self.event.take(packets));
            producer.held.store_word(SIGNALLED, left.saturating_mul(PACKET));
            crash::point();
        }
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

    /// Returns the descriptor for tasks, which look at the queue again afterwards and then from time to time. It is armed from
    /// now on, for all processes.
    #[cfg(feature = "tokio")]
    pub(super) fn event_for_tasks(&self) -> BorrowedFd<'_> {
        let armed = self.half_word(ARMED);
        if armed.load(Ordering::Relaxed) == UNARMED {
            // A producer that has not seen this holds its lock. The task takes the lock when it finds the queue empty, and then
            // looks once more.
            let _armed = armed.compare_exchange(UNARMED, FOR_TASKS, Ordering::SeqCst, Ordering::Relaxed);
            crash::point();
        }
        self.event.as_fd()
    }

    /// Returns the descriptor to poll. It is armed from now on, for all processes.
    pub(in crate::queue) fn event(&self, patience: Patience) -> BorrowedFd<'_> {
        if !self.is_polled() {
            // It becomes readable first. So a process that dies in here can leave it readable without an item, but never
            // unreadable with one.
            self.event.raise();
            crash::point();
            self.half_word(ARMED).store(FOR_POLLERS, Ordering::SeqCst);
            crash::point();
            // A producer that has not seen this holds its lock. When the lock is free, it has committed, and the queue is not
            // empty. If it was to tell tasks, it may have died before, and a task may have received the packet from above.
            if self.unsignal(patience) != Ok(true) {
                self.event.raise();
            }
        }
        self.event.as_fd()
    }
}

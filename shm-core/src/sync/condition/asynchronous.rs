//! Waiting at a condition in an async task.
//!
//! The lock is taken for a moment at a time, in code without an `.await`: to look at the data, and in the same section to
//! take a place or to leave it. So no guard lives across an `.await`. A task that finds the lock taken looks again later.
//!
//! A place belongs to the process, so the task may go on in any of its threads. A future that is dropped leaves its place
//! as a panic in a blocking wait does: a notification that it has received goes to another waiter.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mp_sys::adaptive::Signal;
use mp_sys::cells::{WaiterPlace, Waiters};
use mp_sys::identity::Stamp;

use crate::asynchronous::{Order, Source, Wait, pause};
use crate::error::{LockError, RuntimeError, WaitError};
use crate::sync::condition::Condition;
use crate::sync::condition::places::{Places, Woken};
use crate::sync::condition::stay::Stay;
use crate::sync::dead::{Kernel, PAUSE, Witness};
use crate::sync::guarded::Guarded;

/// How often a task lets others run before it waits for a taken lock by the clock.
const YIELDS: u32 = 4;
/// The first pause before a task looks again whether a lock is free. The pauses double up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(1);
const RETRY_MAX: Duration = Duration::from_millis(16);

impl Condition {
    /// Waits until `look` returns something, and returns it, without blocking a thread of the runtime. Feature `tokio`.
    ///
    /// `look` gets what the lock of `guarded` protects: `&mut T` of a [`Value`](crate::Value), `&mut [T]` of an
    /// [`Array`](crate::Array), `&mut ()` of a lock without data. It runs while the lock is held: at first, after each
    /// notification, and from time to time, because a process that was notified may have died. If it returns `None`, the
    /// lock is released, and the task waits for the next notification. It can also change the data, for example take
    /// what it waited for. Keep it short: it runs on a thread of the runtime.
    ///
    /// No guard is held while the task waits. If another thread holds the lock, the task looks again after 1 to 16 ms.
    ///
    /// # Cancellation
    /// You can drop the future at any time. A notification that it has received goes to another waiter. `look` has either
    /// returned something, and then so does this call in the same poll, or nothing was taken.
    ///
    /// # Errors
    /// [`WaitError::TooManyWaiters`]; [`WaitError::Lock`] if the lock is poisoned or cannot be taken;
    /// [`WaitError::Runtime`] if the task has to wait and no tokio runtime polls it.
    ///
    /// # Panics
    /// If `look` panics: the lock is poisoned, and the task stops waiting. If the runtime has no blocking thread and cannot
    /// start one.
    ///
    /// # Fork safety
    /// A runtime does not work in a forked child, and neither do its futures.
    ///
    /// # Examples
    /// ```
    /// # extern crate shm_core as mp;
    /// use std::sync::Arc;
    ///
    /// use mp::{Condition, Value};
    ///
    /// let stock = Arc::new(Value::new(0_u32)?);
    /// let delivered = Condition::new()?;
    /// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// runtime.block_on(async {
    ///     let (of, at) = (Arc::clone(&stock), delivered.clone());
    ///     let customer = tokio::spawn(async move {
    ///         // Takes one as soon as there is one, and returns what is left.
    ///         at.wait_until_async(&*of, |stock| {
    ///             *stock = stock.checked_sub(1)?;
    ///             Some(*stock)
    ///         })
    ///         .await
    ///     });
    ///     tokio::task::yield_now().await;
    ///     stock.update(|stock| stock + 5)?;
    ///     delivered.notify(1);
    ///     assert_eq!(customer.await??, 4);
    ///     Ok::<_, Box<dyn std::error::Error>>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "wait_for")]
    pub async fn wait_until_async<O: Guarded, R>(
        &self,
        guarded: &O,
        mut look: impl FnMut(&mut O::Lent) -> Option<R>,
    ) -> Result<R, WaitError<()>> {
        tokio::task::coop::consume_budget().await;
        let mut waiting = Waiting { condition: self, wait: Wait::default(), stay: None };
        let mut tries = 0;
        loop {
            match waiting.attempt(guarded, &mut look)? {
                Attempt::Done(result) => return Ok(result),
                Attempt::Waits => {
                    tries = 0;
                    waiting.until_called().await?;
                }
                Attempt::LockIsTaken => {
                    retry_later(tries).await?;
                    tries = tries.saturating_add(1);
                }
            }
        }
    }
}

/// What one look found.
enum Attempt<R> {
    Done(R),
    /// The task has a place.
    Waits,
    LockIsTaken,
}

/// A task that waits.
struct Waiting<'a> {
    condition: &'a Condition,
    /// Dropped first: nobody watches a place that belongs to nobody.
    wait: Wait,
    /// The place and its number, once the task has one.
    stay: Option<(usize, Stay<'a>)>,
}

impl Waiting<'_> {
    /// Looks once, if the lock is free.
    fn attempt<O: Guarded, R>(
        &mut self,
        guarded: &O,
        look: &mut impl FnMut(&mut O::Lent) -> Option<R>,
    ) -> Result<Attempt<R>, WaitError<()>> {
        let section = |lent: &mut O::Lent| {
            let woken = self.woken();
            if let Some(result) = look(lent) {
                self.leave(woken);
                return Ok(Attempt::Done(result));
            }
            if woken == Woken::Notified {
                self.leave(woken);
            }
            self.take_place()?;
            Ok(Attempt::Waits)
        };
        match guarded.try_lend(section) {
            Ok(attempt) => attempt,
            Err(LockError::WouldBlock) => Ok(Attempt::LockIsTaken),
            Err(error) => {
                // The caller learns of the poison in place of its notification.
                if matches!(error, LockError::Poisoned(())) {
                    self.leave(self.woken());
                }
                Err(WaitError::Lock(error))
            }
        }
    }

    fn woken(&self) -> Woken {
        let is_notified = |(_, stay): &(usize, Stay<'_>)| {
            let place = stay.place();
            place.signal.get() != Places::word_of(place)
        };
        if self.stay.as_ref().is_some_and(is_notified) { Woken::Notified } else { Woken::Looked }
    }

    fn leave(&mut self, woken: Woken) {
        self.wait = Wait::default();
        if let Some((_, stay)) = self.stay.take() {
            stay.leave(woken);
        }
    }

    fn take_place(&mut self) -> Result<(), WaitError<()>> {
        if self.stay.is_some() {
            return Ok(());
        }
        let (condition, own) = (self.condition, Stamp::current().to_bits());
        let (places, hint) = (condition.places(), condition.hint.load(Ordering::Relaxed));
        let (at, place) = places.take(own, hint, &Kernel).ok_or(WaitError::TooManyWaiters(()))?;
        condition.hint.store(at, Ordering::Relaxed);
        self.stay = Some((at, Stay::at(place, places)));
        Ok(())
    }

    /// Waits for a notification, or until the task should look for another reason.
    async fn until_called(&mut self) -> Result<(), RuntimeError> {
        let Some((at, stay)) = &self.stay else {
            return Ok(());
        };
        let (place, waiters) = (stay.place(), &self.condition.waiters);
        let seen = Places::word_of(place);
        let source = || -> Arc<dyn Source> { Arc::new(Place { waiters: waiters.clone(), at: *at }) };
        self.wait.until_called(&place.signal, Order::All, seen, source).await
    }
}

/// Waits a little for a lock that another thread holds.
async fn retry_later(tries: u32) -> Result<(), RuntimeError> {
    let Some(doublings) = tries.checked_sub(YIELDS) else {
        tokio::task::yield_now().await;
        return Ok(());
    };
    let longer = RETRY_FIRST.saturating_mul(2_u32.saturating_pow(doublings));
    pause(longer.min(RETRY_MAX)).await
}

/// A place of a condition.
#[derive(Debug)]
struct Place {
    waiters: Waiters,
    at: usize,
}

impl Place {
    #[expect(clippy::indexing_slicing, reason = "this is the number of a place that was taken")]
    fn place(&self) -> &WaiterPlace {
        &self.waiters.places()[self.at]
    }
}

impl Source for Place {
    fn signal(&self) -> &Signal {
        &self.place().signal
    }

    /// Clears the places of dead processes. A process may also have died after it left its place, and before it did what
    /// it was woken for. So the task checks whether it still has to wait.
    fn look(&self) -> bool {
        let head = self.waiters.head();
        let is_turn = Kernel.is_turn_to_look(&head.watch.last_look, PAUSE);
        if is_turn {
            let places = Places { head, places: self.waiters.places() };
            places.clear_those_of_the_dead(Stamp::current().to_bits(), &Kernel);
        }
        is_turn
    }
}

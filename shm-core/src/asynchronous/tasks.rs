//! The tasks that wait for one word, or for a moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::asynchronous::{Order, Source};

/// A task that waits.
#[derive(Debug, Default)]
pub(super) struct Waiter {
    /// Whether it has to look, and has not been polled since.
    pub(super) is_called: bool,
    waker: Option<Waker>,
}

impl Waiter {
    /// Makes a waiter that looks once more before it waits.
    pub(super) fn called() -> Self {
        Self { is_called: true, waker: None }
    }

    /// Lets the task look. Returns what wakes it, for the caller to use without a lock.
    pub(super) fn call(&mut self) -> Option<Waker> {
        self.is_called = true;
        self.waker.take()
    }

    /// Returns `Ready` once for each call. A waker that was replaced is stored in `old`, because dropping it may run code of
    /// another crate, and must not happen under a lock.
    pub(super) fn poll(&mut self, cx: &Context<'_>, old: &mut Option<Waker>) -> Poll<()> {
        if std::mem::take(&mut self.is_called) {
            return Poll::Ready(());
        }
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *old = self.waker.replace(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// The tasks of one runtime that wait for one word.
#[derive(Debug)]
pub(super) struct Queue {
    /// Distinguishes this queue from an earlier one for the same word.
    pub(super) serial: u64,
    pub(super) source: Arc<dyn Source>,
    /// What the word held when the thread last looked.
    pub(super) expected: u32,
    /// The number of the lane that watches the word.
    pub(super) lane: usize,
    pub(super) order: Order,
    /// By number: the one that came first has the smallest.
    pub(super) waiters: BTreeMap<u64, Waiter>,
}

/// What remains to be done when a task has left its queue.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Wakes the next task.
    pub(super) next: Option<Waker>,
    /// The waker of the task that left.
    pub(super) own: Option<Waker>,
    /// Whether the word was changed for a task that no longer needs it, so that a waiter of another process may need it.
    pub(super) is_to_pass_on: bool,
}

impl Queue {
    /// Lets those look that the order chooses.
    pub(super) fn call(&mut self, wakers: &mut Vec<Waker>) {
        let count = match self.order {
            Order::All => usize::MAX,
            Order::OneByOne => 1,
        };
        wakers.extend(self.waiters.values_mut().take(count).filter_map(Waiter::call));
    }

    /// Lets one more task look, if the first one was called and has not been polled since. A task that does something else
    /// in the meantime, for example in another branch of a `select!`, must not keep the others waiting.
    pub(super) fn call_behind(&mut self, wakers: &mut Vec<Waker>) {
        let mut waiters = self.waiters.values_mut();
        if waiters.next().is_some_and(|first| first.is_called) {
            wakers.extend(waiters.find(|waiter| !waiter.is_called).and_then(Waiter::call));
        }
    }

    /// Removes a task. In a queue in which one waits for all, the next one takes over, and looks: what the task was called
    /// for may still be there, or there may be more than the task took.
    pub(super) fn leave(&mut self, id: u64) -> Left {
        let was_first = self.waiters.first_key_value().is_some_and(|(first, _)| *first == id);
        let Some(mut gone) = self.waiters.remove(&id) else {
            return Left::default();
        };
        let is_called = gone.is_called;
        let own = gone.call();
        if self.order == Order::All || !was_first {
            return Left { own, ..Left::default() };
        }
        match self.waiters.first_entry() {
            Some(mut next) => Left { next: next.get_mut().call(), own, is_to_pass_on: false },
            None => Left { next: None, own, is_to_pass_on: is_called },
        }
    }
}

#[cfg(test)]
mod tests {
    use mp_sys::adaptive::Signal;

    use super::*;

    #[derive(Debug, Default)]
    struct Word(Signal);

    impl Source for Word {
        fn signal(&self) -> &Signal {
            &self.0
        }
    }

    fn queue(order: Order) -> Queue {
        let waiters = (1..=3).map(|id| (id, Waiter::default())).collect();
        Queue { serial: 1, source: Arc::new(Word::default()), expected: 0, lane: 0, order, waiters }
    }

    fn called(queue: &Queue) -> Vec<u64> {
        queue.waiters.iter().filter(|(_, waiter)| waiter.is_called).map(|(id, _)| *id).collect()
    }

    #[test]
    fn an_order_calls_all_or_the_first() {
        let [mut all, mut one] = [Order::All, Order::OneByOne].map(queue);
        let cx = Context::from_waker(Waker::noop());
        for queue in [&mut all, &mut one] {
            for waiter in queue.waiters.values_mut() {
                assert!(waiter.poll(&cx, &mut None).is_pending());
            }
            let mut wakers = Vec::new();
            queue.call(&mut wakers);
            assert_eq!(wakers.len(), called(queue).len());
        }
        assert_eq!((called(&all), called(&one)), (vec![1, 2, 3], vec![1]));
        let first = one.waiters.get_mut(&1).unwrap();
        assert!(first.poll(&cx, &mut None).is_ready());
        assert!(first.poll(&cx, &mut None).is_pending(), "a call is used once");
    }

    #[test]
    fn a_task_that_is_not_polled_keeps_nobody_waiting() {
        let mut queue = queue(Order::OneByOne);
        queue.call_behind(&mut Vec::new());
        assert_eq!(called(&queue), [0; 0], "the first one was not called");
        queue.call(&mut Vec::new());
        for expected in [vec![1, 2], vec![1, 2, 3], vec![1, 2, 3]] {
            queue.call_behind(&mut Vec::new());
            assert_eq!(called(&queue), expected);
        }
    }

    #[test]
    fn a_task_that_leaves_lets_the_next_one_look() {
        let mut queue = queue(Order::OneByOne);
        assert!(!queue.leave(2).is_to_pass_on);
        assert_eq!(called(&queue), [0; 0], "the first one goes on waiting");
        queue.leave(1);
        assert_eq!(called(&queue), [3]);
        assert!(queue.leave(3).is_to_pass_on, "it was called, and nobody else is here");
        assert!(queue.waiters.is_empty());
        assert!(!queue.leave(3).is_to_pass_on);
    }

    #[test]
    fn a_task_that_was_not_called_leaves_nothing() {
        let mut queue = queue(Order::All);
        queue.call(&mut Vec::new());
        assert!(!queue.leave(1).is_to_pass_on, "all others were called");
        let mut queue = self::queue(Order::OneByOne);
        queue.waiters.retain(|id, _| *id == 1);
        assert!(!queue.leave(1).is_to_pass_on);
    }
}

//! What the tasks of one runtime wait for, and the lanes: the threads that watch it.

use std::collections::{BTreeMap, HashMap};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use mp_sys::adaptive::Signal;
use mp_sys::deadline::Deadline;
use mp_sys::futex::WORDS_MAX;

use crate::asynchronous::bell::Bell;
use crate::asynchronous::tasks::{Queue, Waiter};
use crate::asynchronous::{Order, Source};

/// The most threads that watch for one runtime. Up to `LANES_MAX * (WORDS_MAX - 1)` words are watched without a delay. The
/// lanes share any others, and look at those every [`LOOK_AGAIN`](mp_sys::futex::LOOK_AGAIN).
pub(super) const LANES_MAX: usize = 16;
/// The words of a full lane. Its bell takes one of [`WORDS_MAX`].
pub(super) const LANE_WORDS: usize = WORDS_MAX - 1;

/// What the tasks of one runtime wait for.
#[derive(Debug, Default)]
pub(super) struct Hub {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Whether the runtime is ending. Nobody is in a queue then, and nobody comes.
    pub(super) is_over: bool,
    newest: u64,
    /// By the address of the word. An address belongs to one object while its queue exists, because the source keeps it.
    pub(super) queues: HashMap<usize, Queue>,
    /// Tasks that wait for a moment, which the first lane watches.
    pub(super) alarms: BTreeMap<(Deadline, u64), Waiter>,
    pub(super) lanes: Vec<Lane>,
}

/// One thread, as the others see it.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) bell: Arc<Bell>,
    /// Whether its thread was asked for, and has not ended.
    pub(super) is_running: bool,
    /// Whether its thread has begun. If all blocking threads of the runtime are busy, that may never happen, and another lane
    /// [stands in](State::watcher_of) for it.
    has_begun: bool,
    words: usize,
}

/// The place of a task in a hub.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// In the queue of the word at this address.
    Word(usize, u64),
    /// Among the alarms.
    Alarm(Deadline, u64),
}

/// A place that was taken.
#[derive(Debug)]
pub(super) struct Entered {
    pub(super) place: Place,
    /// The lane that the caller has to start.
    pub(super) to_start: Option<usize>,
}

impl Hub {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // No code of another crate runs under the lock, except for the clone of a waker. A panic there leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a task that has looked when the word held `seen`, unless the runtime is ending.
    pub(super) fn enter(
        &self,
        signal: &Signal,
        order: Order,
        seen: u32,
        make: impl FnOnce() -> Arc<dyn Source>,
    ) -> Option<Entered> {
        let address = ptr::from_ref(signal).addr();
        let mut state = self.lock();
        let id = state.next_id()?;
        let place = Place::Word(address, id);
        if let Some(queue) = state.queues.get_mut(&address) {
            // Those that came earlier have been called for what this task missed. Where one waits for all, that one looked.
            let missed = order == Order::All && queue.expected != seen;
            queue.waiters.insert(id, if missed { Waiter::called() } else { Waiter::default() });
            return Some(Entered { place, to_start: None });
        }
        let (lane, to_start) = state.lane_for_one_more();
        // Before the thread looks at the word, which it does once the lock is free.
        signal.begin_observing();
        let waiters = BTreeMap::from([(id, Waiter::default())]);
        let queue = Queue { serial: id, source: make(), expected: seen, lane, order, waiters };
        state.queues.insert(address, queue);
        state.ring(lane);
        Some(Entered { place, to_start })
    }

    /// Enters a task that waits for a moment.
    pub(super) fn enter_alarm(&self, deadline: Deadline) -> Option<Entered> {
        let mut state = self.lock();
        let id = state.next_id()?;
        if state.lanes.is_empty() {
            state.lanes.push(Lane::default());
        }
        state.alarms.insert((deadline, id), Waiter::default());
        state.ring(0);
        Some(Entered { place: Place::Alarm(deadline, id), to_start: state.start(0) })
    }

    /// Removes a task from its place.
    pub(super) fn leave(&self, place: Place) {
        let mut state = self.lock();
        let (address, id) = match place {
            Place::Word(address, id) => (address, id),
            Place::Alarm(deadline, id) => {
                let gone = state.alarms.remove(&(deadline, id));
                drop(state);
                drop(gone);
                return;
            }
        };
        let Some(queue) = state.queues.get_mut(&address) else {
            return;
        };
        let mut left = queue.leave(id);
        let emptied = if queue.waiters.is_empty() { state.queues.remove(&address) } else { None };
        if let Some(queue) = &emptied {
            state.word_leaves(queue.lane);
        }
        drop(state);
        drop(left.own.take());
        if let Some(queue) = emptied {
            queue.source.signal().end_observing();
            if left.is_to_pass_on {
                queue.source.signal().nudge();
            }
        }
        if let Some(next) = left.next.take() {
            next.wake();
        }
    }

    /// Records that the thread of a lane has begun, and watches the words that another lane may have watched for it.
    pub(super) fn begin(&self, lane: usize) {
        if let Some(lane) = self.lock().lanes.get_mut(lane) {
            lane.has_begun = true;
        }
    }

    /// Returns whether it has neither a task nor a thread.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.queues.is_empty() && state.alarms.is_empty() && state.lanes.iter().all(|lane| !lane.is_running)
    }

    /// Removes all tasks, and lets them look: their runtime is ending.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        let (queues, alarms) = (std::mem::take(&mut state.queues), std::mem::take(&mut state.alarms));
        for lane in &state.lanes {
            lane.bell.ring();
        }
        drop(state);
        let mut wakers: Vec<Waker> = alarms.into_values().filter_map(|mut waiter| waiter.call()).collect();
        for mut queue in queues.into_values() {
            queue.source.signal().end_observing();
            // The thread may have been woken already, and no longer looks.
            if queue.order == Order::OneByOne {
                queue.source.signal().nudge();
            }
            queue.order = Order::All;
            queue.call(&mut wakers);
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl State {
    fn next_id(&mut self) -> Option<u64> {
        // 64 bits never run out.
        self.newest = self.newest.wrapping_add(1);
        (!self.is_over).then_some(self.newest)
    }

    /// Finds the task at a place.
    pub(super) fn waiter(&mut self, place: Place) -> Option<&mut Waiter> {
        match place {
            Place::Word(address, id) => self.queues.get_mut(&address)?.waiters.get_mut(&id),
            Place::Alarm(deadline, id) => self.alarms.get_mut(&(deadline, id)),
        }
    }

    /// Chooses the lane of one more word. Returns it a second time if it has to be started.
    fn lane_for_one_more(&mut self) -> (usize, Option<usize>) {
        let with_room = self.lanes.iter().position(|lane| lane.words < LANE_WORDS);
        let chosen = with_room.unwrap_or_else(|| {
            if self.lanes.len() < LANES_MAX {
                self.lanes.push(Lane::default());
                return self.lanes.len().saturating_sub(1);
            }
            let least = self.lanes.iter().enumerate().min_by_key(|(_, lane)| lane.words);
            least.map_or(0, |(at, _)| at)
        });
        if let Some(lane) = self.lanes.get_mut(chosen) {
            lane.words = lane.words.saturating_add(1);
        }
        (chosen, self.start(chosen))
    }

    /// Returns the lane whose thread watches the words of a lane: its own, or, until that has begun, the first one that has.
    pub(super) fn watcher_of(&self, at: usize) -> usize {
        if self.lanes.get(at).is_some_and(|lane| lane.has_begun) {
            return at;
        }
        self.lanes.iter().position(|lane| lane.has_begun).unwrap_or(at)
    }

    /// Records that the thread of a lane ends, because there is nothing to watch.
    pub(super) fn end_lane(&mut self, at: usize) {
        if let Some(lane) = self.lanes.get_mut(at) {
            (lane.is_running, lane.has_begun) = (false, false);
        }
    }

    fn start(&mut self, at: usize) -> Option<usize> {
        let lane = self.lanes.get_mut(at)?;
        (!std::mem::replace(&mut lane.is_running, true)).then_some(at)
    }

    fn word_leaves(&mut self, at: usize) {
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.words = lane.words.saturating_sub(1);
        }
        // The lane must not keep the object's memory until its next look.
        self.ring(at);
    }

    fn ring(&self, at: usize) {
        if let Some(lane) = self.lanes.get(self.watcher_of(at)) {
            lane.bell.ring();
        }
    }
}

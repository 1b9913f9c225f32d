//! A thread of a runtime's blocking pool that watches words for its tasks.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::fork::Epoch;
use mp_sys::futex::{self, SLICE, Slept};
use tokio::runtime::Handle;

use crate::asynchronous::bell::Bell;
use crate::asynchronous::hub::Hub;
use crate::asynchronous::tasks::{Queue, Waiter};
use crate::asynchronous::{Source, runtimes};

/// How long a thread without a task stays, since the next one often comes soon.
const LINGER: Duration = Duration::from_secs(1);

/// Starts the thread of a lane. When the runtime begins to end, it drops its tasks before it waits for its threads. So a
/// task ends the thread.
pub(super) fn start(hub: &Arc<Hub>, handle: &Handle, lane: usize) {
    let watching = Arc::clone(hub);
    // Before the thread, because tokio panics if the system has no thread left. The next task then makes another hub.
    let until = EndsOnDrop { hub: Arc::clone(hub), started_in: Epoch::current(), has_ended: false };
    let thread = handle.spawn_blocking(move || Watcher::new(lane).run(&watching));
    let task = handle.spawn(async move {
        // If it panicked, its tasks need another thread: they look, and find a new hub.
        let has_ended = thread.await.is_ok();
        until.end(has_ended);
    });
    drop(task);
}

/// Ends the hub of a runtime that drops it.
#[derive(Debug)]
struct EndsOnDrop {
    hub: Arc<Hub>,
    started_in: Epoch,
    has_ended: bool,
}

impl EndsOnDrop {
    fn end(mut self, has_ended: bool) {
        self.has_ended = has_ended;
    }
}

impl Drop for EndsOnDrop {
    fn drop(&mut self) {
        // In a forked child, the runtime and its threads belong to the parent.
        if !self.has_ended && self.started_in.is_current() {
            runtimes::forget(&self.hub);
            self.hub.end();
        }
    }
}

/// A word, as the thread saw it before it slept.
#[derive(Debug)]
struct Watched {
    address: usize,
    serial: u64,
    expected: u32,
    source: Arc<dyn Source>,
}

/// What a thread knows.
#[derive(Debug)]
struct Watcher {
    lane: usize,
    /// When it looks for the dead next.
    next_look: Deadline,
    looks: usize,
    /// Until when it stays, if it has nothing to do.
    stays_until: Option<Deadline>,
    /// Whether it watches the moments that tasks wait for.
    has_alarms: bool,
}

/// What a thread sleeps on.
struct Sleep {
    bell: Arc<Bell>,
    rung: u32,
    words: Vec<Watched>,
    until: Deadline,
}

impl Watcher {
    fn new(lane: usize) -> Self {
        Self { lane, next_look: Deadline::after(SLICE), looks: 0, stays_until: None, has_alarms: false }
    }

    fn run(mut self, hub: &Arc<Hub>) {
        hub.begin(self.lane);
        while let Some(Sleep { bell, rung, words, until }) = self.next_sleep(hub) {
            let on = words.iter().map(|watched| (watched.source.signal().word(), watched.expected));
            let slept = bell.sleep(rung, on, until);
            self.call(hub, &words, slept);
            if self.next_look.has_passed() {
                self.look(hub, &words);
                self.next_look = Deadline::after(SLICE);
            }
        }
        runtimes::forget_if_idle(hub);
    }

    /// Collects what to sleep on, or returns `None` when the thread should end.
    fn next_sleep(&mut self, hub: &Hub) -> Option<Sleep> {
        let mut state = hub.lock();
        if state.is_over {
            return None;
        }
        let lane = self.lane;
        let mine = |at: usize| state.watcher_of(at) == lane;
        self.has_alarms = mine(0);
        let alarm = state.alarms.first_key_value().map(|((deadline, _), _)| *deadline);
        let alarm = alarm.filter(|_| self.has_alarms);
        let words: Vec<Watched> =
            state.queues.iter().filter(|(_, queue)| mine(queue.lane)).map(Watched::of).collect();
        let until = if words.is_empty() && alarm.is_none() {
            let stays_until = *self.stays_until.get_or_insert_with(|| Deadline::after(LINGER));
            if stays_until.has_passed() {
                state.end_lane(lane);
                return None;
            }
            stays_until
        } else {
            self.stays_until = None;
            self.next_look
        };
        let bell = Arc::clone(&state.lanes.get(lane)?.bell);
        let rung = bell.rung();
        Some(Sleep { bell, rung, words, until: alarm.map_or(until, |alarm| until.min(alarm)) })
    }

    /// Calls the tasks whose words have changed, and those whose moment has come.
    fn call(&self, hub: &Hub, words: &[Watched], slept: Slept) {
        let (mut wakers, mut gone, mut late) = (Vec::new(), Vec::new(), Vec::new());
        let mut state = hub.lock();
        for watched in words {
            let now = watched.source.signal().get();
            if now == watched.expected {
                continue;
            }
            if slept == Slept::SliceEnded {
                late.push(watched);
            }
            match state.queues.get_mut(&watched.address).filter(|queue| queue.serial == watched.serial) {
                Some(queue) => {
                    queue.expected = now;
                    queue.call(&mut wakers);
                }
                None => gone.push(watched),
            }
        }
        let mut rung = Vec::new();
        while let Some(alarm) =
            state.alarms.first_entry().filter(|alarm| self.has_alarms && alarm.key().0.has_passed())
        {
            rung.push(alarm.remove());
        }
        drop(state);
        wakers.extend(rung.iter_mut().filter_map(Waiter::call));
        wakers.into_iter().for_each(Waker::wake);
        // The wake-up may have reached this thread, and belongs to a waiter of another process.
        for watched in gone {
            watched.source.signal().nudge();
        }
        for watched in late {
            futex::count_late_wait();
            watched.source.signal().wake_late();
        }
    }

    /// Looks for dead processes, at another word first each time, and for tasks that were called and not polled.
    fn look(&mut self, hub: &Hub, words: &[Watched]) {
        self.looks = self.looks.wrapping_add(1);
        let first = self.looks.checked_rem(words.len()).unwrap_or_default();
        let (before, after) = words.split_at_checked(first).unwrap_or((&[], words));
        let looked: Vec<_> =
            after.iter().chain(before).map(|watched| (watched, watched.source.look())).collect();
        let mut wakers = Vec::new();
        let mut state = hub.lock();
        for (watched, has_news) in looked {
            match state.queues.get_mut(&watched.address).filter(|queue| queue.serial == watched.serial) {
                Some(queue) if has_news => queue.call(&mut wakers),
                Some(queue) => queue.call_behind(&mut wakers),
                None => {}
            }
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Watched {
    fn of((address, queue): (&usize, &Queue)) -> Self {
        let source = Arc::clone(&queue.source);
        Self { address: *address, serial: queue.serial, expected: queue.expected, source }
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

    /// All tasks left while the wake-up for them was under way.
    #[test]
    fn a_wake_up_for_nobody_reaches_another_sleeper() {
        let word = Arc::new(Word::default());
        word.0.post(1);
        word.0.begin_observing();
        let source: Arc<dyn Source> = Arc::<Word>::clone(&word);
        let words = [Watched { address: 1, serial: 1, expected: 0, source }];
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let patience = Deadline::after(Duration::from_secs(30));
                futex::wait_any([(word.0.word(), 1)].into_iter(), patience)
            });
            // The other one may not sleep yet.
            while !other.is_finished() {
                Watcher::new(0).call(&Hub::default(), &words, Slept::Woken);
                std::thread::yield_now();
            }
            assert_eq!(other.join().unwrap(), Slept::Woken);
        });
    }
}

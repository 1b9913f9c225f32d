//! The engine of a pool: it hands out chunks, collects reports, and replaces workers that end.
//!
//! Everything happens in calls of the pool's owner; there is no thread. Each worker has two queues of its own, for chunks
//! and for reports. So a worker that is stopped or killed anywhere, even under the lock of a queue, affects no other one, and
//! the engine always knows which chunks a worker has: those that it put into the worker's queue and that are not reported.
//!
//! **Invariant:** an item that was submitted is in `pending`, or with one seat, or was passed to the sink.
//!
//! 1. A worker stores the index of an item in shared memory before it calls the function.
//! 2. When a worker has ended, its reports are read first. What is left of its chunks goes back to `pending`, and so does the
//!    item that it was working on, unless that was its last try.
//! 3. What comes back from a worker that crashed is reported as soon as it is done, so that its results are seen.
//! 4. An idle worker gets a chunk that waits behind the present one of another worker.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Duration;

use mp_sys::deadline::{Deadline, now_nanos};
use mp_sys::fork::Epoch;
use mp_sys::ready::ReadySet;

use crate::exit::ExitError;
use crate::pool::chunk::Chunk;
use crate::pool::error::{PoolError, TaskError};
use crate::pool::health::{Crash, Health};
use crate::pool::payload::Sink;
use crate::pool::rules::Rules;
use crate::pool::seat::{Seat, Start, nanos_of};
use crate::pool::worker::Progress;
use crate::restart::Crashes;

/// How long to wait, at first and at most, before the next try to start a worker, while others work.
const START_AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long to wait before the next try to hand out chunks that could not be put into a queue.
const PUT_AGAIN: Duration = Duration::from_millis(1);
/// How long workers have to end by themselves before they are killed.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// The most reports that are taken from a worker at once.
const REPORTS_AT_ONCE: usize = 64;

pub(super) struct Engine<'s> {
    rules: Rules,
    start: Box<Start<'s>>,
    seats: Vec<Seat>,
    pending: VecDeque<Chunk>,
    /// How often a process ended while it worked on an item, by job and index.
    tries: HashMap<(u64, u64), u32>,
    /// Workers that ended since the last result, not counting further tries of an item.
    crashes: Crashes,
    /// Starts that failed since the last one that did not.
    failed_starts: Crashes,
    /// The cancelled jobs of which workers still have items.
    given_up: Vec<u64>,
    restarts: u64,
    last_crash: Option<Crash>,
    start_again: Option<Deadline>,
    owner: Epoch,
    /// What the caller's own event loop waits for.
    set: Option<Rc<ReadySet>>,
}

impl<'s> Engine<'s> {
    /// Makes the queues, and starts the workers.
    ///
    /// # Errors
    /// [`PoolError::Settings`], [`PoolError::Queues`], [`PoolError::Start`]. There are no workers then.
    pub(super) fn new(
        rules: Rules,
        start: Box<Start<'s>>,
        set: Option<Rc<ReadySet>>,
    ) -> Result<Self, PoolError> {
        let workers = rules.check()?;
        let words = Progress::words(workers).map_err(PoolError::Queues)?;
        let seats = (0..workers).map(|at| Seat::new(&rules, Progress::of(&words, at), set.clone()));
        let seats = seats.collect::<Result<_, _>>()?;
        let mut engine = Self {
            crashes: Crashes::up_to(rules.crashes(workers)),
            failed_starts: Crashes::up_to(u32::MAX),
            rules,
            start,
            seats,
            pending: VecDeque::new(),
            tries: HashMap::new(),
            given_up: Vec::new(),
            restarts: 0,
            last_crash: None,
            start_again: None,
            owner: Epoch::current(),
            set,
        };
        for seat in &mut engine.seats {
            seat.start(&*engine.start)?;
        }
        Ok(engine)
    }

    /// Whether this process has started the pool. A forked child has only a copy, and must not touch the queues.
    pub(super) fn is_own(&self) -> bool {
        self.owner.is_current()
    }

    pub(super) fn workers(&self) -> usize {
        self.seats.len()
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(super) fn submit(&mut self, chunk: Chunk) {
        self.pending.push_back(chunk);
    }

    /// Hands out chunks without looking for reports.
    pub(super) fn hand_out_now(&mut self) {
        if let Err(error) = self.hand_out() {
            // The chunks are still there.
            tracing::debug!(%error, "the next call returns this error");
        }
    }

    /// Returns whether a worker has no next chunk.
    pub(super) fn is_hungry(&self) -> bool {
        self.pending.is_empty() && self.seats.iter().any(|seat| seat.waiting() == 0)
    }

    /// Returns whether another chunk would keep the workers busy.
    pub(super) fn wants_more(&self) -> bool {
        let room = self.seats.iter().map(Seat::room).fold(0, usize::saturating_add);
        self.pending.len() < room.saturating_add(self.seats.len())
    }

    /// Returns whether any item has no outcome yet.
    pub(super) fn is_busy(&self) -> bool {
        !self.pending.is_empty() || self.seats.iter().any(|seat| seat.assigned() > 0)
    }

    /// Removes the chunks of a job that no worker has begun with, and returns them. None in a forked child. The items of the
    /// others are not tried again if their processes end.
    pub(super) fn cancel(&mut self, job: u64) -> Vec<Chunk> {
        if !self.is_own() {
            return Vec::new();
        }
        let mut back: Vec<Chunk> = Vec::new();
        for seat in &mut self.seats {
            back.extend(seat.take_back(usize::MAX));
        }
        // Those of other jobs keep their places before the chunks that were not handed out yet.
        back.sort_by_key(|chunk| (chunk.job, chunk.first));
        let (cancelled, kept): (Vec<_>, Vec<_>) =
            back.into_iter().chain(self.pending.drain(..)).partition(|chunk| chunk.job == job);
        self.pending = kept.into();
        self.given_up.push(job);
        self.given_up.retain(|job| self.seats.iter().any(|seat| seat.has_any_of(*job)));
        self.tries.retain(|item, _| !cancelled.iter().any(|chunk| chunk.contains(*item)));
        self.hand_out_now();
        cancelled
    }

    /// Hands out chunks, takes reports, replaces workers, and passes outcomes to `sink`, until it has passed at least one or
    /// the deadline has passed.
    ///
    /// # Errors
    /// [`PoolError::Crashes`], [`PoolError::Start`], [`PoolError::NotParent`]. The pool is at its end then.
    pub(super) fn drive(&mut self, deadline: Deadline, sink: &mut Sink<'_>) -> Result<bool, PoolError> {
        if !self.is_own() {
            return Err(PoolError::NotParent);
        }
        self.hand_out()?;
        loop {
            let mut passed = self.collect(sink)?;
            passed |= self.replace(sink)?;
            // There is room where reports came from, and a new worker gets what the one before it has left.
            self.hand_out()?;
            if passed || deadline.has_passed() {
                return Ok(passed);
            }
            self.wait(deadline)?;
        }
    }

    fn hand_out(&mut self) -> Result<(), PoolError> {
        let mut places: Vec<usize> = (0..self.seats.len()).collect();
        places.sort_by_key(|place| self.seats.get(*place).map(Seat::assigned));
        for (nth, place) in places.iter().enumerate() {
            let others = places.len().saturating_sub(nth).max(1);
            if let Some(seat) = self.seats.get_mut(*place) {
                let count = self.pending.len().div_ceil(others).min(seat.room());
                seat.assign(&mut self.pending, count)?;
            }
        }
        self.share_out()
    }

    /// Passes chunks that wait behind others to idle workers. Those with the most waiting chunks give first.
    fn share_out(&mut self) -> Result<(), PoolError> {
        while let Some(idle) = self.seats.iter().position(Seat::is_idle) {
            let mut givers: Vec<&mut Seat> = self.seats.iter_mut().filter(|seat| seat.can_give()).collect();
            givers.sort_by_key(|seat| Reverse(seat.waiting()));
            let chunk = givers.into_iter().find_map(|seat| seat.take_back(1).pop());
            let (Some(chunk), Some(seat)) = (chunk, self.seats.get_mut(idle)) else { return Ok(()) };
            self.pending.push_front(chunk);
            seat.assign(&mut self.pending, 1)?;
        }
        Ok(())
    }

    fn collect(&mut self, sink: &mut Sink<'_>) -> Result<bool, PoolError> {
        let mut passed = false;
        let has_pending = !self.pending.is_empty();
        for seat in &mut self.seats {
            let results = seat.collect(REPORTS_AT_ONCE, &mut self.tries, sink)?;
            if results > 0 {
                self.crashes.clear();
                passed = true;
                seat.adapt(has_pending);
            }
        }
        Ok(passed)
    }

    /// Replaces the workers that have ended. Returns whether an item has got an outcome by that.
    fn replace(&mut self, sink: &mut Sink<'_>) -> Result<bool, PoolError> {
        let mut passed = false;
        for at in 0..self.seats.len() {
            let Some(seat) = self.seats.get_mut(at) else { break };
            seat.kill_late(self.rules.timeout);
            let Some(end) = seat.ended() else { continue };
            // All that it has reported is there now, in one batch or more.
            while seat.collect(usize::MAX, &mut self.tries, sink)? > 0 {
                self.crashes.clear();
                passed = true;
            }
            let has_core = seat.has_dumped_core();
            let left = seat.vacate();
            for chunk in left.chunks.into_iter().rev() {
                if !self.given_up.contains(&chunk.job) {
                    self.pending.push_front(chunk);
                    continue;
                }
                // The job was cancelled while the worker had the chunk, and had not begun with it.
                self.tries.retain(|item, _| !chunk.contains(*item));
                chunk.indices().for_each(|index| sink(chunk.job, index, Err(TaskError::Cancelled)));
                passed = true;
            }
            self.restarts = self.restarts.saturating_add(1);
            match end {
                Err(end) if !left.is_innocent => {
                    let item = left.item.as_ref().map(|item| item.first);
                    self.last_crash = Some(Crash::new(end.clone(), item, has_core));
                    passed |= self.note_crash(end, left.item, left.is_late, sink)?;
                }
                _ => {
                    if let Some(item) = left.item {
                        self.pending.push_front(item);
                    }
                }
            }
        }
        self.start_missing()?;
        Ok(passed)
    }

    /// Counts the end of a worker, and decides what becomes of the item that it was working on.
    fn note_crash(
        &mut self,
        end: ExitError,
        item: Option<Chunk>,
        is_late: bool,
        sink: &mut Sink<'_>,
    ) -> Result<bool, PoolError> {
        let mut passed = false;
        let mut is_known = false;
        if let Some(item) = item {
            let key = (item.job, item.first);
            if let Some(limit) = self.rules.timeout.filter(|_| is_late) {
                self.tries.remove(&key);
                sink(item.job, item.first, Err(TaskError::TimedOut(limit)));
                return Ok(true);
            }
            let tries = self.tries.get(&key).map_or(1, |tries| tries.saturating_add(1));
            is_known = (2..=self.crashes.max()).contains(&tries);
            if tries >= self.rules.tries || self.given_up.contains(&item.job) {
                self.tries.remove(&key);
                sink(item.job, item.first, Err(TaskError::Crashed { end: end.clone(), tries }));
                passed = true;
            } else {
                self.tries.insert(key, tries);
                self.pending.push_front(item);
            }
        }
        if !is_known && !self.crashes.note() {
            let item = self.last_crash.as_ref().and_then(|crash| crash.item);
            return Err(PoolError::Crashes { crashes: self.crashes.in_row(), end, item });
        }
        Ok(passed)
    }

    fn start_missing(&mut self) -> Result<(), PoolError> {
        if self.start_again.is_some_and(|at| !at.has_passed()) {
            return Ok(());
        }
        self.start_again = None;
        for seat in self.seats.iter_mut().filter(|seat| seat.is_empty()) {
            if let Err(error) = seat.start(&*self.start) {
                let _without_limit = self.failed_starts.note();
                let pause = self.failed_starts.pause(START_AGAIN.0, START_AGAIN.1);
                tracing::warn!(%error, ?pause, "a worker of a pool could not be started");
                self.start_again = Some(Deadline::after(pause));
                break;
            }
            self.failed_starts.clear();
        }
        if self.start_again.is_some() && self.seats.iter().all(|seat| seat.is_empty()) {
            // Nobody is left who could do anything: the last error is the caller's.
            if let Some(seat) = self.seats.first_mut() {
                seat.start(&*self.start)?;
            }
        }
        Ok(())
    }

    /// When it is time to look at the clock, if nothing happens before `deadline`.
    fn due(&self, deadline: Deadline) -> Deadline {
        let mut until = deadline;
        if let Some(again) = self.start_again {
            until = until.min(again);
        }
        if let Some(limit) = self.rules.timeout {
            let nanos = nanos_of(limit);
            let now = now_nanos();
            if let Some(next) = self.seats.iter().filter_map(|seat| seat.time_left(now, nanos)).min() {
                until = until.min(Deadline::after(Duration::from_nanos(next)));
            }
        }
        if self.seats.iter().any(Seat::has_refused) {
            until = until.min(Deadline::after(PUT_AGAIN));
        }
        until
    }

    /// Lets the descriptor of the set become readable when there is something to do.
    pub(super) fn set_alarm(&self) {
        if let Some(Err(error)) = self.set.as_ref().map(|set| set.set_alarm(self.due(Deadline::NEVER))) {
            tracing::warn!(%error, "the descriptor of a pool does not show the time");
        }
    }

    /// Waits until a worker reports or ends, or it is time to look at the clock.
    fn wait(&self, deadline: Deadline) -> Result<(), PoolError> {
        let until = self.due(deadline);
        let files = self.files();
        kernel_ipc::wait(files, until.remaining()).map_err(|error| PoolError::Queues(error.to_string()))?;
        Ok(())
    }

    /// Returns the descriptors that become readable when something has happened.
    pub(super) fn files(&self) -> Vec<BorrowedFd<'_>> {
        self.seats.iter().flat_map(Seat::files).collect()
    }

    pub(super) fn health(&self) -> Health {
        let alive = self.seats.iter().filter(|seat| seat.is_alive()).count();
        Health {
            alive,
            workers: self.seats.len(),
            restarts: self.restarts,
            last_crash: self.last_crash.clone(),
        }
    }

    /// Lets the workers finish the chunks that they have, and waits for them. A worker that has not ended after
    /// [`CLOSE_GRACE`], for example because it is stopped, is killed.
    pub(super) fn close(&mut self) {
        for seat in &mut self.seats {
            seat.close();
        }
        let deadline = Deadline::after(CLOSE_GRACE);
        for seat in &mut self.seats {
            seat.end_until(deadline);
        }
    }
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        if !self.is_own() {
            return;
        }
        for seat in &mut self.seats {
            seat.kill();
        }
        for seat in &mut self.seats {
            seat.join();
        }
    }
}

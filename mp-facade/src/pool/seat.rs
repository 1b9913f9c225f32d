//! A seat of a pool: the queues and the words of one worker, and the process that has them at present.

mod late;

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use kernel_ipc::{GetError, PutError, Queue};
use mp_sys::deadline::{Deadline, now_nanos};
use mp_sys::ready::ReadySet;

use self::late::Overdue;
pub(super) use self::late::nanos_of;
use crate::child::Child;
use crate::exit::ExitError;
use crate::pool::chunk::{Chunk, Order};
use crate::pool::error::{PoolError, TaskError};
use crate::pool::payload::{Outcome, Payload, Sink};
use crate::pool::report::{Kind, Outcomes};
use crate::pool::rules::Rules;
use crate::pool::worker::{Progress, Station};
use crate::start::error::StartError;

/// Starts a process that works at a station.
pub(super) type Start<'s> = dyn Fn(&Station) -> Result<Child<()>, StartError> + 's;

/// How many chunks a worker has at first: the one that it works on, and the next.
const AHEAD_MIN: usize = 2;
/// The most chunks that a worker has. Tiny ones are handed out far ahead, so that it never waits for the next.
const AHEAD_MAX: usize = 256;
/// The word of all descriptors in the set: the engine looks at all seats anyway.
const WATCHED: u64 = 0;

/// What a process that has ended leaves.
pub(super) struct Left {
    /// The chunks to be done again, in order, without the item.
    pub(super) chunks: Vec<Chunk>,
    /// The item that it was working on.
    pub(super) item: Option<Chunk>,
    /// Whether it was killed because the item took too long.
    pub(super) is_late: bool,
    /// Whether the pool itself killed it, for an item that then came in time after all.
    pub(super) is_innocent: bool,
}

pub(super) struct Seat {
    station: Station,
    child: Option<Child<()>>,
    /// The chunks that were put into the queue and are not reported. The worker works on the first one.
    assigned: VecDeque<Chunk>,
    ahead: usize,
    /// Whether its queue refused the last chunk: a process was stopped under the queue's lock.
    has_refused: bool,
    /// When it last was between two items for certain: when it got a chunk while it had none, or reported.
    quiet_since: u64,
    /// Why the pool has killed it.
    condemned: Option<Overdue>,
    /// From when on its time counts, because it was stopped before.
    excused_until: u64,
    /// For what it was given a moment to go on after a stop.
    excused_for: Option<Overdue>,
    /// What the caller's own event loop waits for.
    set: Option<Rc<ReadySet>>,
}

impl Seat {
    pub(super) fn new(
        rules: &Rules,
        progress: Progress,
        set: Option<Rc<ReadySet>>,
    ) -> Result<Self, PoolError> {
        let queue = || Queue::new().map_err(|error| PoolError::Queues(error.to_string()));
        let items_max = rules.items_per_worker.unwrap_or(u64::MAX);
        let is_timed = rules.timeout.is_some();
        let station = Station { chunks: queue()?, reports: queue()?, progress, items_max, is_timed };
        if let Some(set) = &set {
            set.add(&station.reports, WATCHED).map_err(StartError::of_os)?;
        }
        let assigned = VecDeque::new();
        Ok(Self {
            station,
            child: None,
            assigned,
            ahead: AHEAD_MIN,
            has_refused: false,
            quiet_since: 0,
            condemned: None,
            excused_until: 0,
            excused_for: None,
            set,
        })
    }

    pub(super) fn start(&mut self, start: &Start<'_>) -> Result<(), StartError> {
        let child = start(&self.station)?;
        if let Some(Err(error)) = self.set.as_ref().map(|set| set.add(&child, WATCHED)) {
            child
                .kill()
                .map_or_else(|error| tracing::debug!(%error, "a worker of a pool is not killed"), drop);
            return Err(StartError::of_os(error));
        }
        self.child = Some(child);
        self.quiet_since = now_nanos();
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.child.is_none()
    }

    pub(super) fn is_alive(&self) -> bool {
        self.child.as_ref().is_some_and(|child| child.is_alive().unwrap_or(false))
    }

    /// The number of chunks that it has.
    pub(super) fn assigned(&self) -> usize {
        self.assigned.len()
    }

    /// Whether it has any items of a job.
    pub(super) fn has_any_of(&self, job: u64) -> bool {
        self.assigned.iter().any(|chunk| chunk.job == job)
    }

    /// The number of chunks that it can get.
    pub(super) fn room(&self) -> usize {
        if self.child.is_some() { self.ahead.saturating_sub(self.assigned.len()) } else { 0 }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.child.is_some() && self.assigned.is_empty() && !self.has_refused
    }

    /// The number of its chunks that wait in the queue.
    pub(super) fn waiting(&self) -> usize {
        self.station.chunks.len()
    }

    /// Whether an idle worker may get one of its chunks. The only one that it has stays, so that it does not go round.
    pub(super) fn can_give(&self) -> bool {
        self.assigned.len() > 1 && self.waiting() > 0
    }

    /// Whether its queue refused the last chunk.
    pub(super) fn has_refused(&self) -> bool {
        self.has_refused
    }

    /// Hands the first `count` chunks of `pending` to the worker, without waiting for a lock. Chunks that its queue refuses
    /// stay in `pending`.
    ///
    /// # Errors
    /// [`PoolError::Queues`] if there is no memory for a chunk, which stays in `pending`.
    pub(super) fn assign(&mut self, pending: &mut VecDeque<Chunk>, count: usize) -> Result<(), PoolError> {
        if count == 0 {
            // What it refused is with another one.
            self.has_refused = false;
        }
        for _ in 0..count {
            let Some(chunk) = pending.front() else { break };
            let put = self.station.chunks.try_put_bytes(&chunk.to_bytes());
            if self.assigned.is_empty() && !self.has_refused {
                self.quiet_since = now_nanos();
                self.forget_stops();
            }
            self.has_refused = match put {
                Ok(()) => false,
                Err(PutError::Lock(_) | PutError::TimedOut | PutError::Full) => true,
                Err(error) => return Err(PoolError::Queues(error.to_string())),
            };
            if self.has_refused {
                break;
            }
            self.assigned.extend(pending.pop_front());
        }
        Ok(())
    }

    /// Takes up to `max` chunks back that the worker has not begun with.
    pub(super) fn take_back(&mut self, max: usize) -> Vec<Chunk> {
        let mut back = Vec::new();
        while back.len() < max {
            // An error means that the worker is just taking the next one, or was stopped while it did.
            let Ok(bytes) = self.station.chunks.try_get_bytes() else { break };
            let Some(order) = Order::of(&bytes) else { continue };
            let is_it = |chunk: &Chunk| (chunk.job, chunk.first) == (order.job, order.first);
            back.extend(self.assigned.iter().position(is_it).and_then(|at| self.assigned.remove(at)));
        }
        back
    }

    /// Reads up to `max` reports, passes the outcomes on, and returns how many there were.
    ///
    /// # Errors
    /// [`PoolError::Queues`] if the queue cannot be used.
    pub(super) fn collect(
        &mut self,
        max: usize,
        tries: &mut HashMap<(u64, u64), u32>,
        sink: &mut Sink<'_>,
    ) -> Result<usize, PoolError> {
        let mut outcomes = 0_usize;
        let batch = match self.station.reports.try_get_many(max) {
            Ok(batch) => batch,
            Err(GetError::Empty | GetError::Lock(_)) => return Ok(0),
            Err(error) => return Err(PoolError::Queues(error.to_string())),
        };
        let (all, lens) = batch.into_bytes();
        let (all, mut at) = (Rc::new(all), 0_usize);
        for len in lens {
            let end = at.saturating_add(len);
            let taken = all.get(at..end).and_then(|report| self.take_report(&all, report, tries, sink));
            at = end;
            if taken.is_none() {
                // It has overwritten its own memory. Another process does the rest.
                tracing::warn!("a worker of a pool sends reports that cannot be understood, and is killed");
                self.kill();
                break;
            }
            outcomes = outcomes.saturating_add(taken.unwrap_or(0));
        }
        self.quiet_since = now_nanos();
        self.forget_stops();
        Ok(outcomes)
    }

    fn take_report(
        &mut self,
        taken: &Rc<Vec<u8>>,
        report: &[u8],
        tries: &mut HashMap<(u64, u64), u32>,
        sink: &mut Sink<'_>,
    ) -> Option<usize> {
        let mut outcomes = Outcomes::of(report)?;
        let front = self.assigned.front()?;
        if (front.job, front.first) != (outcomes.job, outcomes.first) {
            return None;
        }
        let mut count = 0_usize;
        while let Some(front) = self.assigned.front_mut() {
            let job = front.job;
            while front.count > 0 {
                let Some(outcome) = outcomes.next() else { return Some(count) };
                let (kind, payload) = outcome?;
                let index = front.first;
                front.skip_first();
                if !tries.is_empty() {
                    tries.remove(&(job, index));
                }
                count = count.saturating_add(1);
                sink(job, index, outcome_of(taken, kind, payload));
            }
            self.assigned.pop_front();
        }
        // More outcomes than items cannot be understood.
        outcomes.next().is_none().then_some(count)
    }

    /// Changes how many chunks it has ahead: more if it had to wait for the next one.
    pub(super) fn adapt(&mut self, has_pending: bool) {
        if has_pending && self.assigned.is_empty() {
            self.ahead = self.ahead.saturating_mul(2).min(AHEAD_MAX);
        }
    }

    /// The job and the index of the item that the worker works on, if it is one that has no outcome yet.
    fn item(&self) -> Option<(u64, u64)> {
        let item = self.station.progress.item()?;
        self.assigned.iter().any(|chunk| chunk.contains(item)).then_some(item)
    }

    /// Returns how the worker ended, if it has.
    pub(super) fn ended(&self) -> Option<Result<(), ExitError>> {
        let child = self.child.as_ref()?;
        match child.try_join() {
            Ok(None) => None,
            Ok(Some(())) => Some(Ok(())),
            Err(end) => Some(Err(end)),
        }
    }

    /// Whether the kernel wrote a core of the worker that has ended.
    pub(super) fn has_dumped_core(&self) -> bool {
        self.child.as_ref().is_some_and(|child| child.handle().has_dumped_core())
    }

    /// Removes the worker that has ended, and returns what it leaves.
    pub(super) fn vacate(&mut self) -> Left {
        self.unwatch();
        self.child = None;
        // What it has not taken is in `assigned` too, and all reports that can be understood were read.
        while self.station.chunks.try_get_bytes().is_ok() {}
        while self.station.reports.try_get_bytes().is_ok() {}
        let item = self.item();
        let condemned = self.condemned.take();
        self.station.progress.end();
        self.ahead = AHEAD_MIN;
        self.has_refused = false;
        self.excused_for = None;
        let is_as_condemned = condemned == Some(item.map_or(Overdue::Begin, Overdue::Item));
        let mut left = Left {
            chunks: Vec::new(),
            item: None,
            is_late: is_as_condemned && item.is_some(),
            is_innocent: condemned.is_some() && !is_as_condemned,
        };
        for mut chunk in self.assigned.drain(..) {
            chunk.is_urgent = true;
            match item.filter(|item| !left.is_innocent && chunk.contains(*item)) {
                Some((_, index)) => {
                    let after = index.saturating_add(1);
                    left.item = chunk.part(index, after);
                    left.chunks.extend(chunk.part(chunk.first, index));
                    left.chunks.extend(chunk.part(after, chunk.end()));
                }
                None => left.chunks.extend(chunk.part(chunk.first, chunk.end())),
            }
        }
        left
    }

    /// Stops watching the worker's end, before its descriptor is closed: a process that was forked meanwhile may have a copy.
    fn unwatch(&self) {
        if let (Some(set), Some(child)) = (&self.set, &self.child)
            && let Err(error) = set.remove(child)
        {
            tracing::warn!(%error, "a worker of a pool was not watched");
        }
    }

    /// The descriptors that show a report or the worker's end.
    pub(super) fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.child.iter().flat_map(|child| [self.station.reports.as_fd(), child.as_fd()])
    }

    pub(super) fn kill(&mut self) {
        if let Some(child) = &self.child {
            // It may have ended already.
            let killed = child.kill();
            tracing::debug!(?killed, "killed a worker of a pool");
        }
    }

    /// Lets the worker end when it has done its chunks.
    pub(super) fn close(&mut self) {
        if let Err(error) = self.station.chunks.try_put_bytes(&Chunk::default().to_bytes()) {
            tracing::warn!(%error, "a worker of a pool is killed, because it cannot be asked to end");
            self.kill();
        }
    }

    /// Waits until the worker has ended, and kills it at the deadline.
    pub(super) fn end_until(&mut self, deadline: Deadline) {
        let Some(child) = &self.child else { return };
        if let Ok(None) = child.join_timeout(deadline.remaining()) {
            tracing::warn!("a worker of a pool is killed, because it does not end by itself");
            self.kill();
        }
        self.join();
    }

    /// Waits until the worker has ended.
    pub(super) fn join(&mut self) {
        self.unwatch();
        if let Some(child) = self.child.take() {
            let ended = child.join();
            tracing::debug!(?ended, "a worker of a pool has ended");
        }
    }
}

/// Returns how an item ended.
#[inline]
fn outcome_of<'a>(taken: &'a Rc<Vec<u8>>, kind: Kind, payload: &'a [u8]) -> Outcome<'a> {
    let text = || String::from_utf8_lossy(payload).into_owned();
    match kind {
        Kind::Value => Ok(Payload::new(taken, payload)),
        Kind::Panicked => Err(TaskError::Panicked(text())),
        Kind::Argument => Err(TaskError::Argument(text())),
        Kind::Result => Err(TaskError::Result(text())),
    }
}

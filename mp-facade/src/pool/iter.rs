//! The results of many items, one after another.

use std::fmt;
use std::time::Duration;

use mp_sys::deadline::{Deadline, tick_nanos};
use serde::de::DeserializeOwned;

use crate::pool::chunk::Chunk;
use crate::pool::encoding::encode;
use crate::pool::error::{PoolError, TaskError};
use crate::pool::inbox::Arrived;
use crate::pool::rules::{Division, Rules};
use crate::pool::{Inner, Pool, gather};
use crate::start::arguments::Arguments;
use crate::start::return_value::ReturnValue;

/// The most chunks of a job for each worker that are under way: handed out, or done and not taken from the iterator yet.
pub const POOL_AHEAD_CHUNKS: usize = 16;
/// A chunk with so many bytes of arguments gets no more items.
const CHUNK_BYTES: usize = 256 << 10;
/// An iterator that takes longer than this is slow: results are looked for before it is asked again.
const FEED_TIME: Duration = Duration::from_millis(2);

/// A job whose items come from an iterator.
struct Feed<'p, A, R, I> {
    pool: &'p Pool<A, R>,
    items: std::iter::Fuse<I>,
    job: u64,
    /// The number of items, if the iterator knows it.
    len: Option<u64>,
    division: Division,
    /// The number of items that were submitted, and of those whose outcome was taken.
    submitted: u64,
    taken: u64,
    is_over: bool,
}

impl<'p, A, R, I> Feed<'p, A, R, I>
where
    A: DeserializeOwned,
    R: ReturnValue,
    I: Iterator<Item: Arguments<A>>,
{
    fn new(pool: &'p Pool<A, R>, items: I) -> Self {
        // The iterator is the caller's code: it may use the pool.
        let len = match items.size_hint() {
            (least, Some(most)) if least == most => Some(most),
            _ => None,
        };
        let mut inner = pool.inner.borrow_mut();
        let job = inner.inboxes.open();
        let (rules, workers) = inner
            .engine()
            .map_or_else(|_| (Rules::default(), 1), |engine| (engine.rules().clone(), engine.workers()));
        drop(inner);
        // If nobody knows how many there will be, results should come as soon as possible.
        let division = rules.division(len.unwrap_or(1), workers);
        let len = len.map(|len| u64::try_from(len).unwrap_or(u64::MAX));
        Self { pool, items: items.fuse(), job, len, division, submitted: 0, taken: 0, is_over: false }
    }

    /// Submits chunks while workers need them, each at once. Returns `true` if it has stopped because the iterator is slow,
    /// so that results are looked for meanwhile.
    fn feed(&mut self) -> Result<bool, PoolError> {
        let begun = tick_nanos();
        loop {
            let mut inner = self.pool.inner.borrow_mut();
            let engine = inner.engine()?;
            let chunks = engine.workers().saturating_mul(POOL_AHEAD_CHUNKS);
            let most = u64::try_from(chunks.saturating_mul(self.division.most())).unwrap_or(u64::MAX);
            let has_room = self.submitted.saturating_sub(self.taken) < most;
            // Another job may keep all workers busy. One chunk of this one has to be under way all the same.
            let is_idle = self.submitted == self.taken;
            if !has_room || !(is_idle || engine.wants_more()) {
                return Ok(false);
            }
            drop(inner);
            let (chunk, failed) = self.next_chunk();
            let mut inner = self.pool.inner.borrow_mut();
            let is_last = chunk.count == 0 && failed.is_none();
            if chunk.count > 0 {
                let engine = inner.engine()?;
                engine.submit(chunk);
                engine.hand_out_now();
            }
            if let Some((index, error)) = failed {
                inner.inboxes.put(self.job, index, Err(error));
            }
            if is_last {
                return Ok(false);
            }
            if Duration::from_nanos(tick_nanos().saturating_sub(begun)) >= FEED_TIME {
                return Ok(true);
            }
        }
    }

    /// Makes a chunk of the next items. An item that cannot be encoded ends it, and is returned with its error.
    fn next_chunk(&mut self) -> (Chunk, Option<(u64, TaskError)>) {
        let mut chunk = Chunk::empty(self.job, self.submitted);
        let mut failed = None;
        let left = self.len.map_or(1, |len| len.saturating_sub(self.submitted));
        for _ in 0..self.division.next(usize::try_from(left).unwrap_or(usize::MAX)) {
            let Some(item) = self.items.next() else { break };
            if let Err(error) = chunk.push(|bytes| encode(&item, bytes).map_err(TaskError::Argument)) {
                failed = Some((chunk.end(), error));
                break;
            }
            if chunk.bytes() >= CHUNK_BYTES {
                break;
            }
        }
        // Only now: if the caller's code panics, the next item gets the number of the first one that was lost.
        self.submitted = chunk.end().saturating_add(u64::from(failed.is_some()));
        (chunk, failed)
    }

    /// Goes on until `take` finds an outcome. Returns `None` after the last one.
    fn next<T>(&mut self, take: impl Fn(&mut Inner, u64, u64) -> Option<T>) -> Option<Result<T, PoolError>> {
        if self.is_over {
            return None;
        }
        let taken = self.try_next(take).transpose();
        self.is_over = !matches!(taken, Some(Ok(_)));
        taken
    }

    fn try_next<T>(
        &mut self,
        take: impl Fn(&mut Inner, u64, u64) -> Option<T>,
    ) -> Result<Option<T>, PoolError> {
        let pool = self.pool;
        let mut inner = pool.inner.borrow_mut();
        // A result that is there comes before the iterator is asked for more, unless a worker waits for that.
        let mut has_asked = !inner.engine()?.is_hungry();
        loop {
            if has_asked && let Some(taken) = take(&mut inner, self.job, self.taken) {
                self.taken = self.taken.saturating_add(1);
                return Ok(Some(taken));
            }
            drop(inner);
            let is_slow = self.feed()?;
            inner = pool.inner.borrow_mut();
            if let Some(taken) = take(&mut inner, self.job, self.taken) {
                self.taken = self.taken.saturating_add(1);
                return Ok(Some(taken));
            }
            if self.taken == self.submitted {
                return Ok(None);
            }
            inner.drive(if is_slow { Deadline::after(Duration::ZERO) } else { Deadline::NEVER })?;
            has_asked = true;
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.is_over {
            return (0, Some(0));
        }
        let under_way = usize::try_from(self.submitted.saturating_sub(self.taken)).unwrap_or(usize::MAX);
        let (least, most) = self.items.size_hint();
        (least.saturating_add(under_way), most.and_then(|most| most.checked_add(under_way)))
    }
}

impl<A, R, I> Drop for Feed<'_, A, R, I> {
    fn drop(&mut self) {
        // Whoever drops it inside of the caller's iterator finds the pool in use; then the outcomes are dropped later.
        if let Ok(mut inner) = self.pool.inner.try_borrow_mut() {
            inner.inboxes.close(self.job);
            if let Ok(engine) = &mut inner.engine {
                engine.cancel(self.job);
            }
        }
    }
}

fn value_of<R: DeserializeOwned>(arrived: Arrived) -> Result<R, TaskError> {
    gather::decoded(arrived.as_deref().map_err(Clone::clone))
}

/// The results of a job, in the order of its items: see [`Pool::map_iter`](crate::Pool::map_iter).
#[must_use = "the items are handed out as the results are taken"]
pub struct MapIter<'p, A, R, I> {
    feed: Feed<'p, A, R, I>,
}

/// The results of a job, as they come: see [`Pool::map_unordered`](crate::Pool::map_unordered).
#[must_use = "the items are handed out as the results are taken"]
pub struct Unordered<'p, A, R, I> {
    feed: Feed<'p, A, R, I>,
}

impl<'p, A, R, I> MapIter<'p, A, R, I>
where
    A: DeserializeOwned,
    R: ReturnValue,
    I: Iterator<Item: Arguments<A>>,
{
    pub(super) fn new(pool: &'p Pool<A, R>, items: I) -> Self {
        Self { feed: Feed::new(pool, items) }
    }
}

impl<'p, A, R, I> Unordered<'p, A, R, I>
where
    A: DeserializeOwned,
    R: ReturnValue,
    I: Iterator<Item: Arguments<A>>,
{
    pub(super) fn new(pool: &'p Pool<A, R>, items: I) -> Self {
        Self { feed: Feed::new(pool, items) }
    }
}

impl<A, R, I> Iterator for MapIter<'_, A, R, I>
where
    A: DeserializeOwned,
    R: ReturnValue,
    I: Iterator<Item: Arguments<A>>,
{
    type Item = Result<Result<R, TaskError>, PoolError>;

    fn next(&mut self) -> Option<Self::Item> {
        let arrived = self.feed.next(|inner, job, index| inner.inboxes.take(job, index))?;
        Some(arrived.map(value_of))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.feed.size_hint()
    }
}

impl<A, R, I> Iterator for Unordered<'_, A, R, I>
where
    A: DeserializeOwned,
    R: ReturnValue,
    I: Iterator<Item: Arguments<A>>,
{
    type Item = Result<(usize, Result<R, TaskError>), PoolError>;

    fn next(&mut self) -> Option<Self::Item> {
        let arrived = self.feed.next(|inner, job, _| inner.inboxes.take_any(job))?;
        Some(
            arrived.map(|(index, arrived)| (usize::try_from(index).unwrap_or(usize::MAX), value_of(arrived))),
        )
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.feed.size_hint()
    }
}

/// Only an iterator of known length makes one of known length.
impl<A, R, I> ExactSizeIterator for MapIter<'_, A, R, I>
where
    A: DeserializeOwned,
    R: ReturnValue,
    I: ExactSizeIterator<Item: Arguments<A>>,
{
}

impl<A, R, I> ExactSizeIterator for Unordered<'_, A, R, I>
where
    A: DeserializeOwned,
    R: ReturnValue,
    I: ExactSizeIterator<Item: Arguments<A>>,
{
}

impl<A, R, I> fmt::Debug for MapIter<'_, A, R, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MapIter({} taken, {} submitted)", self.feed.taken, self.feed.submitted)
    }
}

impl<A, R, I> fmt::Debug for Unordered<'_, A, R, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unordered({} taken, {} submitted)", self.feed.taken, self.feed.submitted)
    }
}

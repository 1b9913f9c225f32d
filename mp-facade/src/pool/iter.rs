//! The results of many items, one after another.

use std::fmt;

use mp_sys::deadline::Deadline;
use serde::de::DeserializeOwned;

use crate::pool::chunk::{CHUNK_ITEMS_MAX, Chunk};
use crate::pool::encoding::encode;
use crate::pool::error::{PoolError, TaskError};
use crate::pool::inbox::Arrived;
use crate::pool::{Inner, Pool, gather};
use crate::start::arguments::Arguments;
use crate::start::return_value::ReturnValue;

/// The most chunks of a job for each worker that are under way: handed out, or done and not taken from the iterator yet.
pub const POOL_AHEAD_CHUNKS: usize = 16;
/// A chunk with so many bytes of arguments gets no more items.
const CHUNK_BYTES: usize = 256 << 10;

/// A job whose items come from an iterator.
struct Feed<'p, A, R, I> {
    pool: &'p Pool<A, R>,
    items: std::iter::Fuse<I>,
    job: u64,
    chunk: usize,
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
        let mut inner = pool.inner.borrow_mut();
        let job = inner.inboxes.open();
        let chunk = inner.engine().map_or(1, |engine| {
            let len = match items.size_hint() {
                (least, Some(most)) if least == most => most,
                // Nobody knows how many there will be: results should come as soon as possible.
                _ => 1,
            };
            engine.rules().chunk_of(len, engine.workers()).clamp(1, CHUNK_ITEMS_MAX)
        });
        drop(inner);
        Self { pool, items: items.fuse(), job, chunk, submitted: 0, taken: 0, is_over: false }
    }

    /// Submits chunks while workers need them.
    fn feed(&mut self) -> Result<(), PoolError> {
        loop {
            let mut inner = self.pool.inner.borrow_mut();
            let engine = inner.engine()?;
            let chunks = engine.workers().saturating_mul(POOL_AHEAD_CHUNKS);
            let most = u64::try_from(chunks.saturating_mul(self.chunk)).unwrap_or(u64::MAX);
            let has_room = self.submitted.saturating_sub(self.taken) < most;
            // Another job may keep all workers busy. One chunk of this one has to be under way all the same.
            let is_idle = self.submitted == self.taken;
            if !has_room || !(is_idle || engine.wants_more()) {
                return Ok(());
            }
            drop(inner);
            // The iterator is the caller's code: it may use the pool.
            let (chunk, failed) = self.next_chunk();
            let mut inner = self.pool.inner.borrow_mut();
            let is_last = chunk.count == 0 && failed.is_none();
            if chunk.count > 0 {
                inner.engine()?.submit(chunk);
            }
            if let Some((index, error)) = failed {
                inner.inboxes.put(self.job, index, Err(error));
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Makes a chunk of the next items. An item that cannot be encoded ends it, and is returned with its error.
    fn next_chunk(&mut self) -> (Chunk, Option<(u64, TaskError)>) {
        let mut chunk = Chunk::empty(self.job, self.submitted);
        for _ in 0..self.chunk {
            let Some(item) = self.items.next() else { break };
            let index = self.submitted;
            self.submitted = self.submitted.saturating_add(1);
            if let Err(error) = chunk.push(|bytes| encode(&item, bytes).map_err(TaskError::Argument)) {
                return (chunk, Some((index, error)));
            }
            if chunk.bytes() >= CHUNK_BYTES {
                break;
            }
        }
        (chunk, None)
    }

    /// Goes on until `take` finds an outcome. Returns `None` after the last one.
    fn next<T>(&mut self, take: impl Fn(&mut Inner, u64, u64) -> Option<T>) -> Option<Result<T, PoolError>> {
        if self.is_over {
            return None;
        }
        loop {
            if let Err(error) = self.feed() {
                self.is_over = true;
                return Some(Err(error));
            }
            let mut inner = self.pool.inner.borrow_mut();
            if let Some(taken) = take(&mut inner, self.job, self.taken) {
                self.taken = self.taken.saturating_add(1);
                return Some(Ok(taken));
            }
            if self.taken == self.submitted {
                self.is_over = true;
                return None;
            }
            if let Err(error) = inner.drive(Deadline::NEVER) {
                self.is_over = true;
                return Some(Err(error));
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
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

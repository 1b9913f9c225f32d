//! The rules of a pool: its settings, checked.

use std::time::Duration;

use crate::pool::chunk::CHUNK_ITEMS_MAX;
use crate::pool::error::PoolError;
use crate::process::Method;

/// The most workers of a pool. Each needs five or six descriptors.
pub const POOL_WORKERS_MAX: usize = 1024;
/// How often an item is tried by default if the processes that work on it end.
pub const POOL_TRIES_DEFAULT: u32 = 3;
/// How many workers may end one after the other without a result, by default: so many, or 2 for each worker if that is
/// more.
pub const POOL_CRASHES_DEFAULT: u32 = 16;
/// All workers may end at once, as when somebody kills them by name, and all that replace them.
const CRASHES_PER_WORKER: u32 = 2;
/// By default, the first chunk of a job is this part of a worker's share,
const FIRST_CHUNKS: usize = 4;
/// and no chunk is more than this part of a worker's share of what is left.
const LAST_PARTS: usize = 2;

/// The settings of a pool.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) workers: Option<usize>,
    pub(super) method: Method,
    pub(super) chunk: Option<usize>,
    pub(super) items_per_worker: Option<u64>,
    pub(super) tries: u32,
    pub(super) crashes: Option<u32>,
    pub(super) timeout: Option<Duration>,
    pub(super) name: Option<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            workers: None,
            method: Method::default(),
            chunk: None,
            items_per_worker: None,
            tries: POOL_TRIES_DEFAULT,
            crashes: None,
            timeout: None,
            name: None,
        }
    }
}

impl Rules {
    /// Returns the number of workers.
    ///
    /// # Errors
    /// [`PoolError::Settings`] for settings with which nothing could be done.
    pub(super) fn check(&self) -> Result<usize, PoolError> {
        let refuse = |why| Err(PoolError::Settings(why));
        match self {
            Self { workers: Some(0), .. } => return refuse("a pool needs at least one worker"),
            Self { chunk: Some(0), .. } => return refuse("a chunk needs at least one item"),
            Self { items_per_worker: Some(0), .. } => return refuse("a worker needs at least one item"),
            Self { tries: 0, .. } => return refuse("an item needs at least one try"),
            Self { crashes: Some(0), .. } => return refuse("a pool has to survive at least one crash"),
            Self { timeout: Some(Duration::ZERO), .. } => return refuse("an item needs more time than none"),
            _ => {}
        }
        let workers = self.workers.unwrap_or_else(processors);
        if workers > POOL_WORKERS_MAX {
            return refuse("a pool has at most 1,024 workers (POOL_WORKERS_MAX)");
        }
        Ok(workers)
    }

    /// Returns how many workers may end one after the other without a result.
    pub(super) fn crashes(&self, workers: usize) -> u32 {
        let of_all = u32::try_from(workers).unwrap_or(u32::MAX).saturating_mul(CRASHES_PER_WORKER);
        self.crashes.unwrap_or_else(|| of_all.max(POOL_CRASHES_DEFAULT))
    }

    /// Returns how a job with this many items is divided into chunks. The first ones are a fourth of a worker's share, as
    /// in Python.
    pub(super) fn division(&self, items: usize, workers: usize) -> Division {
        let of_share = items.div_ceil(workers.saturating_mul(FIRST_CHUNKS).max(1));
        let most = self.chunk.unwrap_or(of_share).clamp(1, CHUNK_ITEMS_MAX);
        let parts = self.chunk.is_none().then(|| workers.saturating_mul(LAST_PARTS).max(1));
        Division { most, parts }
    }
}

/// How a job is divided into chunks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Division {
    /// The most items of a chunk.
    most: usize,
    /// The part of the items that are left which a chunk has at most. `None` if all chunks have one length.
    parts: Option<usize>,
}

impl Division {
    /// Returns the most items of a chunk.
    pub(super) fn most(self) -> usize {
        self.most
    }

    /// Returns the number of items of the next chunk if this many items are left. The last chunks have one item, so that
    /// all workers end at about the same time, however long an item takes and whatever a crash has delayed (guided
    /// self-scheduling, Polychronopoulos and Kuck 1987).
    pub(super) fn next(self, left: usize) -> usize {
        self.parts.map_or(self.most, |parts| left.div_ceil(parts).clamp(1, self.most))
    }
}

/// Returns the number of processors that this process may use.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(POOL_WORKERS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(rules: &Rules, items: usize, workers: usize) -> Vec<usize> {
        let (division, mut left) = (rules.division(items, workers), items);
        let mut chunks = Vec::new();
        while left > 0 {
            let count = division.next(left).min(left);
            assert!((1..=division.most()).contains(&count), "{count} of {left}");
            chunks.push(count);
            left -= count;
        }
        chunks
    }

    #[test]
    fn chunks_become_shorter_towards_the_end() {
        let chunks_of = |items, workers| chunks(&Rules::default(), items, workers);
        assert_eq!(chunks_of(1, 1), [1]);
        assert_eq!(chunks_of(16, 2), [2, 2, 2, 2, 2, 2, 1, 1, 1, 1]);
        let many = chunks_of(1_000_000, 2);
        assert!(many.len() < 80, "{}", many.len());
        assert!(many.is_sorted_by(|one, next| one >= next));
        assert_eq!(many[many.len() - 4..], [1, 1, 1, 1]);
        assert_eq!(many[0], CHUNK_ITEMS_MAX);
        // A thousand workers never get more than their shares.
        assert_eq!(chunks_of(1000, 1000), vec![1; 1000]);
    }

    #[test]
    fn more_workers_may_crash_more_often() {
        let rules = Rules::default();
        let crashes = [1, 8, 9, POOL_WORKERS_MAX].map(|workers| rules.crashes(workers));
        assert_eq!(crashes, [16, 16, 18, 2048]);
        assert_eq!(Rules { crashes: Some(1), ..rules }.crashes(POOL_WORKERS_MAX), 1);
    }

    #[test]
    fn chunks_of_a_given_length_keep_it() {
        let rules = Rules { chunk: Some(3), ..Rules::default() };
        assert_eq!(chunks(&rules, 10, 2), [3, 3, 3, 1]);
    }
}

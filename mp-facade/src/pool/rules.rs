//! The rules of a pool: its settings, checked.

use std::time::Duration;

use crate::pool::error::PoolError;
use crate::process::Method;

/// The most workers of a pool. Each needs five descriptors.
pub const POOL_WORKERS_MAX: usize = 1024;
/// How often an item is tried by default if the processes that work on it end.
pub const POOL_TRIES_DEFAULT: u32 = 3;
/// How many workers may end one after the other without a result, by default.
pub const POOL_CRASHES_DEFAULT: u32 = 16;

/// The settings of a pool.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) workers: Option<usize>,
    pub(super) method: Method,
    pub(super) chunk: Option<usize>,
    pub(super) items_per_worker: Option<u64>,
    pub(super) tries: u32,
    pub(super) crashes: u32,
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
            crashes: POOL_CRASHES_DEFAULT,
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
            Self { crashes: 0, .. } => return refuse("a pool has to survive at least one crash"),
            Self { timeout: Some(Duration::ZERO), .. } => return refuse("an item needs more time than none"),
            _ => {}
        }
        let workers = self.workers.unwrap_or_else(processors);
        if workers > POOL_WORKERS_MAX {
            return refuse("a pool has at most 1,024 workers (POOL_WORKERS_MAX)");
        }
        Ok(workers)
    }

    /// Returns the number of items of a chunk, for a job with this many items: four chunks for each worker, as in Python.
    pub(super) fn chunk_of(&self, items: usize, workers: usize) -> usize {
        self.chunk.unwrap_or_else(|| items.div_ceil(workers.saturating_mul(4).max(1)))
    }
}

/// Returns the number of processors that this process may use.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(POOL_WORKERS_MAX)
}

//! The settings of a pool, and the ways to start one.

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::pool::chunk::CHUNK_ITEMS_MAX;
use crate::pool::engine::Engine;
use crate::pool::error::{PoolError, TaskError};
use crate::pool::gather::{self, Gathered};
use crate::pool::rules::Rules;
use crate::pool::worker::{self, Station};
use crate::pool::{Pool, start};
use crate::process::{Method, Process};
use crate::start::arguments::Arguments;
use crate::start::return_value::ReturnValue;

/// The settings of a [`Pool`], and the methods that start one.
///
/// | setting | default |
/// |---|---|
/// | [`workers`](Self::workers) | one for each processor that this process may use |
/// | [`method`](Self::method) | [`Method::Spawn`] |
/// | [`chunk`](Self::chunk) | a fourth of a worker's share, and less towards the end of the job |
/// | [`tries`](Self::tries) | 3 |
/// | [`crashes`](Self::crashes) | 16, or 2 for each worker if that is more |
/// | [`timeout`](Self::timeout) | none |
/// | [`max_tasks_per_child`](Self::max_tasks_per_child) | no limit |
/// | [`name`](Self::name) | `Process-` and the process id |
///
/// # Source
/// The parameters of Python's `multiprocessing.Pool` and of loky's `get_reusable_executor`.
#[derive(Clone, Default)]
#[must_use = "a pool works once it is started"]
pub struct PoolBuilder {
    rules: Rules,
}

impl PoolBuilder {
    /// Sets the number of workers, from 1 to [`POOL_WORKERS_MAX`](crate::POOL_WORKERS_MAX).
    #[doc(alias = "processes")]
    pub fn workers(mut self, workers: usize) -> Self {
        self.rules.workers = Some(workers);
        self
    }

    /// Sets how the workers are started. A [`map`](Self::map) of a closure always forks.
    #[doc(alias = "set_start_method")]
    pub fn method(mut self, method: Method) -> Self {
        self.rules.method = method;
        self
    }

    /// Sets how many items a worker gets at once, at least 1. Large chunks cost less, small ones divide the work more
    /// evenly.
    #[doc(alias = "chunksize")]
    pub fn chunk(mut self, items: usize) -> Self {
        self.rules.chunk = Some(items.min(CHUNK_ITEMS_MAX));
        self
    }

    /// Sets how often an item is tried, at least once, if the processes that work on it end. An item that panics is never
    /// tried again.
    #[doc(alias = "max_tries")]
    #[doc(alias = "retry")]
    pub fn tries(mut self, tries: u32) -> Self {
        self.rules.tries = tries;
        self
    }

    /// Sets how many workers may end one after the other without any result, at least 1, before the pool gives up. The second
    /// and later tries of one item do not count, up to this number of tries: that the item ends its workers is known then, and
    /// it says nothing about the others.
    pub fn crashes(mut self, crashes: u32) -> Self {
        self.rules.crashes = Some(crashes);
        self
    }

    /// Sets how long an item may take. A process that takes longer, or that is stopped, is killed, and the item's error is
    /// [`TaskError::TimedOut`]. An item whose process was stopped and continued, as by Ctrl-Z and `fg`, has all its time again.
    /// The pool does not see that of processes of the [fork server](Method::ForkServer).
    ///
    /// A worker that has items, but does not begin with one in this time (at least 1 s), is killed too: it is stopped, or
    /// its initializer hangs. That counts as a crash, so an initializer that always hangs ends in [`PoolError::Crashes`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.rules.timeout = Some(timeout);
        self
    }

    /// Sets after how many items, at least 1, a worker ends and another process takes its place. It ends after the chunk in
    /// which it reaches the number. This bounds what a leak in the function can take.
    #[doc(alias = "maxtasksperchild")]
    pub fn max_tasks_per_child(mut self, items: u64) -> Self {
        self.rules.items_per_worker = Some(items);
        self
    }

    /// Sets the name of the worker processes, of at most [`NAME_BYTES_MAX`](crate::NAME_BYTES_MAX) bytes.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.rules.name = Some(name.into());
        self
    }

    /// Starts the pool. Its workers call `worker` for each item.
    ///
    /// # Errors
    /// [`PoolError::Settings`], [`PoolError::Start`], [`PoolError::Queues`]. There are no workers then.
    pub fn start<A, R>(self, worker: fn(A) -> R) -> Result<Pool<A, R>, PoolError>
    where
        A: DeserializeOwned + 'static,
        R: ReturnValue + 'static,
    {
        let process = self.process();
        let start = move |station: &Station| start::plain(process.clone(), worker, station);
        Pool::start(self.rules, Box::new(start))
    }

    /// Starts the pool. Each worker process first calls `initializer` with `args`, and then the function that it has
    /// returned for each item. So the function can keep what was made once: a connection, a model, a shared object among
    /// the arguments.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    ///
    /// # Examples
    /// ```standalone_crate
    /// use mp::{Pool, Value};
    ///
    /// let total = Value::new(0_u64)?;
    /// let adder = |(total, start): (Value<u64>, u64)| {
    ///     move |n: u64| {
    ///         total.update(|total| total + n).unwrap();
    ///         start + n
    ///     }
    /// };
    /// let pool = Pool::builder().workers(2).start_with(adder, (total.clone(), 100))?;
    /// assert_eq!(pool.map([1, 2, 3])?, [101, 102, 103]);
    /// assert_eq!(total.get()?, 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "initargs")]
    pub fn start_with<I, W, A, R>(
        self,
        initializer: fn(I) -> W,
        args: impl Arguments<I> + 'static,
    ) -> Result<Pool<A, R>, PoolError>
    where
        I: DeserializeOwned + 'static,
        W: FnMut(A) -> R + 'static,
        A: DeserializeOwned + 'static,
        R: ReturnValue + 'static,
    {
        let process = self.process();
        let start = move |station: &Station| start::with(process.clone(), initializer, &args, station);
        Pool::start(self.rules, Box::new(start))
    }

    /// Calls `function` for each of `items` in forked processes, and returns the results in order. The processes have the
    /// items and whatever `function` captures as a copy, so only the results travel.
    ///
    /// # Errors
    /// The first error of an item: [`PoolError::Task`]; otherwise as for [`start`](Self::start). A fork is refused while
    /// other threads run: [`ForkError::OtherThreads`](crate::ForkError::OtherThreads).
    pub fn map<T, R>(self, items: &[T], function: impl Fn(&T) -> R) -> Result<Vec<R>, PoolError>
    where
        R: ReturnValue,
    {
        self.gather(items, function)?.values()
    }

    /// Does the same as [`map`](Self::map), but returns a result or an error for each item.
    ///
    /// # Errors
    /// As for [`start`](Self::start), and [`PoolError::Crashes`].
    pub fn map_each<T, R>(
        self,
        items: &[T],
        function: impl Fn(&T) -> R,
    ) -> Result<Vec<Result<R, TaskError>>, PoolError>
    where
        R: ReturnValue,
    {
        Ok(self.gather(items, function)?.each())
    }

    fn gather<T, R>(self, items: &[T], function: impl Fn(&T) -> R) -> Result<Gathered<R>, PoolError>
    where
        R: ReturnValue,
    {
        let workers = self.rules.check()?.min(items.len());
        if workers == 0 {
            return Ok(Gathered::none());
        }
        let process = self.process();
        let rules = Rules { workers: Some(workers), ..self.rules };
        let division = rules.division(items.len(), workers);
        let function = &function;
        let run = move |index: u64, _: &[u8], into: &mut Vec<u8>| {
            let item = usize::try_from(index).ok().and_then(|index| items.get(index));
            let item = item.ok_or_else(|| (worker::NO_ITEM, "there is no such item".to_owned()))?;
            worker::give(&function(item), into)
        };
        let start = move |station: &Station| process.clone().fork(|| worker::work(station, run));
        let mut engine = Engine::new(rules, Box::new(start), None)?;
        let results = gather::all(&mut engine, items.len(), division)?;
        engine.close();
        Ok(results)
    }

    /// The settings of a worker process.
    fn process(&self) -> Process {
        let process = Process::new().method(self.rules.method).die_with_parent(true);
        match &self.rules.name {
            Some(name) => process.name(name.clone()),
            None => process,
        }
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PoolBuilder({:?}", self.rules.method)?;
        match self.rules.workers {
            Some(workers) => write!(f, ", {workers} workers)"),
            None => f.write_str(")"),
        }
    }
}

//! Pools: processes that call one function for many items.
//!
//! | module | content |
//! |---|---|
//! | [`builder`], [`rules`] | settings |
//! | [`engine`], [`seat`] | handing out work, collecting results, replacing workers that end |
//! | [`worker`], [`start`] | what a worker process does, and how it is started |
//! | [`chunk`], [`report`], [`encoding`] | what travels between both |
//! | [`inbox`], [`payload`], [`gather`], [`iter`], [`job`] | the results of jobs |

mod builder;
mod chunk;
mod encoding;
mod engine;
mod error;
mod gather;
mod health;
mod inbox;
mod iter;
mod job;
mod payload;
mod report;
mod rules;
mod seat;
mod start;
mod worker;

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::line::Short;
use mp_sys::ready::ReadySet;
use serde::de::DeserializeOwned;

pub use self::builder::PoolBuilder;
pub use self::encoding::POOL_ITEM_BYTES_MAX;
use self::engine::Engine;
pub use self::error::{PoolError, TaskError};
pub use self::health::{Crash, Health};
use self::inbox::Inboxes;
pub use self::iter::{MapIter, POOL_AHEAD_CHUNKS, Unordered};
pub use self::job::Job;
use self::rules::Rules;
pub use self::rules::{POOL_CRASHES_DEFAULT, POOL_TRIES_DEFAULT, POOL_WORKERS_MAX};
use self::seat::Start;
use crate::start::arguments::Arguments;
use crate::start::error::StartError;
use crate::start::return_value::ReturnValue;

/// Calls `function` for each of `items` in forked processes, one for each processor, and returns the results in order.
///
/// The processes have the items and whatever `function` captures as a copy, so nothing needs to be serialized except the
/// results. They end with the call.
///
/// # Errors
/// The first error of an item: [`PoolError::Task`]. A panic or a crash is an error of that item only, and all other items are
/// done. [`PoolBuilder::map_each`] returns a result or an error for each item.
///
/// [`PoolError::Start`] if no process could be forked: while other threads run, for example in a `#[test]`, a fork is
/// refused. A [`Pool`] with [`Method::Spawn`](crate::Method::Spawn) works there.
///
/// # Fork safety
/// A forked child may call it.
///
/// # Crash
/// If a process is killed, another one takes its place and tries the item that it was working on again, three times in all. It
/// also repeats those items that the process had not reported yet: a few milliseconds of work. If this process is killed,
/// the others end.
///
/// # Source
/// Python's `multiprocessing.Pool.map`, which waits for ever if a worker is killed.
///
/// # Examples
/// ```standalone_crate
/// let words = ["process", "pool"];
/// let lengths = mp::map(&words, |word| word.len())?;
/// assert_eq!(lengths, [7, 4]);
/// # Ok::<(), mp::PoolError>(())
/// ```
#[doc(alias = "Pool")]
#[doc(alias = "par_iter")]
pub fn map<T, R: ReturnValue>(items: &[T], function: impl Fn(&T) -> R) -> Result<Vec<R>, PoolError> {
    PoolBuilder::default().map(items, function)
}

/// Worker processes that call one function for each item that they are passed.
///
/// The function is a parameter of the pool, so the compiler checks items and results. It is called once or more for each
/// item: if its process ends meanwhile, another one tries again, up to [`tries`](PoolBuilder::tries) times.
///
/// The pool has no thread. It hands out work, collects results and replaces workers while you wait for results, and in
/// [`poll`](Self::poll).
///
/// | property | |
/// |---|---|
/// | threads | one: a pool is neither `Send` nor `Sync` |
/// | descriptors | two, and for each worker five with [`Method::Fork`](crate::Method::Fork) and six with the other methods |
/// | waits on | a descriptor, which [`AsFd`] returns, for an event loop of your own |
/// | memory | the items and results under way |
/// | order | [`map`](Self::map) and [`map_iter`](Self::map_iter) return results in the order of the items |
/// | drop | kills the workers; [`close`](Self::close) lets them finish |
///
/// # Fork safety
/// The pool belongs to the process that started it. In a forked child, its methods return [`PoolError::NotParent`].
///
/// # Crash
/// If a worker is killed, aborts, exits or has a segmentation fault, the pool starts another one. Each item gets exactly one
/// result or error, whatever ends. If the pool's process is killed, the workers end.
///
/// # Source
/// Python's `multiprocessing.Pool` and `concurrent.futures.ProcessPoolExecutor`. The first waits for ever for the item of a
/// killed worker, the second gives up all items.
///
/// # Examples
/// ```standalone_crate
/// use mp::{Pool, PoolError, TaskError};
///
/// fn parse(text: String) -> u32 {
///     text.parse().unwrap()
/// }
///
/// let pool = Pool::builder().workers(2).start(parse)?;
/// assert_eq!(pool.map(["1", "20"])?, [1, 20]);
///
/// let results: Vec<_> = pool.map_iter(["3", "three", "4"]).collect::<Result<_, _>>()?;
/// assert_eq!(results[2], Ok(4));
/// assert!(matches!(&results[1], Err(TaskError::Panicked(message)) if message.contains("InvalidDigit")));
///
/// let job = pool.submit("5")?;
/// assert_eq!(job.wait()?, 5);
/// pool.close()?;
/// # Ok::<(), PoolError>(())
/// ```
#[doc(alias = "ProcessPoolExecutor")]
#[doc(alias = "ThreadPool")]
pub struct Pool<A, R> {
    inner: RefCell<Inner>,
    /// Everything that the engine waits for.
    set: Rc<ReadySet>,
    types: PhantomData<fn(A) -> R>,
}

pub(super) struct Inner {
    /// The engine, or the error that ended it.
    engine: Result<Engine<'static>, PoolError>,
    inboxes: Inboxes,
    /// Whether the caller's own event loop may wait for the pool.
    is_watched: bool,
}

impl Pool<(), ()> {
    /// Returns the settings of a pool, to be changed before it is started.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }
}

impl<A: DeserializeOwned, R: ReturnValue> Pool<A, R> {
    /// Starts a pool with default settings: [`PoolBuilder`] has them all.
    ///
    /// # Errors
    /// As for [`PoolBuilder::start`].
    pub fn new(worker: fn(A) -> R) -> Result<Self, PoolError>
    where
        A: 'static,
        R: 'static,
    {
        PoolBuilder::default().start(worker)
    }

    fn start(rules: Rules, start: Box<Start<'static>>) -> Result<Self, PoolError> {
        let set = Rc::new(ReadySet::new().map_err(StartError::of_os)?);
        let engine = Engine::new(rules, start, Some(Rc::clone(&set)))?;
        let inner = Inner { engine: Ok(engine), inboxes: Inboxes::default(), is_watched: false };
        Ok(Self { inner: RefCell::new(inner), set, types: PhantomData })
    }

    /// Calls the worker function for each item, and returns the results in order. Items may be references.
    ///
    /// # Errors
    /// The first error of an item: [`PoolError::Task`], when all items are done; [`PoolError::Crashes`],
    /// [`PoolError::Start`], [`PoolError::Queues`] end the pool.
    pub fn map<Q: Arguments<A>>(&self, items: impl IntoIterator<Item = Q>) -> Result<Vec<R>, PoolError> {
        let results: Vec<Result<R, TaskError>> = self.map_iter(items).collect::<Result<_, _>>()?;
        let numbered = results.into_iter().enumerate();
        numbered.map(|(index, result)| result.map_err(|error| PoolError::Task { index, error })).collect()
    }

    /// Calls the worker function for each item, and returns an iterator over the results in the order of the items. Each
    /// result is `Ok`, or the item's own error; an outer error ends the pool.
    ///
    /// Items are taken from the iterator as workers need them, so it may be endless. Each chunk is handed out before the next
    /// one is taken. A result that is ready is returned before the iterator is asked for more, unless a worker waits for its
    /// next chunk, and a slow iterator is asked for one chunk at a time. At most
    /// [`POOL_AHEAD_CHUNKS`] chunks for each worker are under way. A job whose number of items is unknown, or which has few
    /// items, is handed out one by one. If the iterator is dropped, chunks that no worker has begun with are not done.
    pub fn map_iter<Q: Arguments<A>, I: IntoIterator<Item = Q>>(
        &self,
        items: I,
    ) -> MapIter<'_, A, R, I::IntoIter> {
        MapIter::new(self, items.into_iter())
    }

    /// Does the same as [`map_iter`](Self::map_iter), but returns results as they come, with the position of each item.
    #[doc(alias = "imap_unordered")]
    #[doc(alias = "as_completed")]
    pub fn map_unordered<Q: Arguments<A>, I: IntoIterator<Item = Q>>(
        &self,
        items: I,
    ) -> Unordered<'_, A, R, I::IntoIter> {
        Unordered::new(self, items.into_iter())
    }

    /// Hands one item to the pool, and returns the handle of its result.
    ///
    /// # Errors
    /// [`PoolError::Task`] if the argument cannot be encoded, and the error that ended the pool.
    #[doc(alias = "apply_async")]
    pub fn submit(&self, item: impl Arguments<A>) -> Result<Job<'_, A, R>, PoolError> {
        Job::new(self, &item)
    }

    /// Hands out work, takes results and replaces workers that have ended, without waiting. Call it from time to time if you
    /// wait for no result; an idle pool needs no calls.
    ///
    /// # Errors
    /// The error that ended the pool.
    pub fn poll(&self) -> Result<(), PoolError> {
        self.inner.borrow_mut().drive(Deadline::after(Duration::ZERO))
    }

    /// Returns how the pool is.
    ///
    /// # Errors
    /// The error that ended the pool.
    pub fn health(&self) -> Result<Health, PoolError> {
        Ok(self.inner.borrow_mut().engine()?.health())
    }

    /// Waits until all that was submitted is done, and ends the workers. One that does not end by itself within 1 s is
    /// killed.
    ///
    /// # Errors
    /// The error that ended the pool.
    pub fn close(self) -> Result<(), PoolError> {
        let mut inner = self.inner.into_inner();
        while inner.engine()?.is_busy() {
            inner.drive(Deadline::NEVER)?;
        }
        inner.engine()?.close();
        Ok(())
    }
}

impl Inner {
    /// Returns the engine.
    ///
    /// # Errors
    /// The error that ended the pool; [`PoolError::NotParent`] in a forked child.
    fn engine(&mut self) -> Result<&mut Engine<'static>, PoolError> {
        match &mut self.engine {
            Ok(engine) if engine.is_own() => Ok(engine),
            Ok(_) => Err(PoolError::NotParent),
            Err(error) => Err(error.clone()),
        }
    }

    /// Goes on until something has happened.
    fn drive(&mut self, deadline: Deadline) -> Result<(), PoolError> {
        let Self { engine, inboxes, is_watched } = self;
        let running = engine.as_mut().map_err(|error| error.clone())?;
        match running.drive(deadline, &mut |job, index, outcome| inboxes.put(job, index, outcome)) {
            Ok(_) => {
                if *is_watched {
                    running.set_alarm();
                }
                Ok(())
            }
            Err(PoolError::NotParent) => Err(PoolError::NotParent),
            Err(error) => {
                // The workers end here.
                *engine = Err(error.clone());
                Err(error)
            }
        }
    }
}

impl<A, R> AsFd for Pool<A, R> {
    /// Readable when [`poll`](Self::poll) has something to do: a result has come, a worker has ended, or the time of an item is
    /// over. After `poll`, ask the jobs with [`Job::is_done`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        if let Ok(mut inner) = self.inner.try_borrow_mut() {
            inner.is_watched = true;
            match &inner.engine {
                Ok(engine) if engine.is_own() => engine.set_alarm(),
                Ok(_) => {}
                // The next call returns the error.
                Err(_) => drop(self.set.set_alarm(Deadline::after(Duration::ZERO))),
            }
        }
        self.set.as_fd()
    }
}

impl<A, R> fmt::Debug for Pool<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(inner) = self.inner.try_borrow() else { return f.write_str("Pool(in use)") };
        match &inner.engine {
            Ok(engine) => {
                let health = engine.health();
                write!(f, "Pool({} of {} workers)", health.alive, health.workers)
            }
            Err(error) => write!(f, "Pool(ended: {})", Short(error)),
        }
    }
}

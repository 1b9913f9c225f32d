//! Pools: processes that call one function for many items.
//!
//! | module | content |
//! |---|---|
//! | [`builder`], [`rules`] | settings |
//! | [`engine`], [`seat`] | handing out work, collecting results, replacing workers that end |
//! | [`worker`] | what a worker process does |
//! | [`chunk`] | what travels between both |
//! | [`gather`] | the results of a job |
#![expect(dead_code, unreachable_pub, reason = "the parts of a pool follow one by one")]

mod builder;
mod chunk;
mod engine;
mod error;
mod gather;
mod health;
mod rules;
mod seat;
mod worker;

pub use self::builder::PoolBuilder;
pub use self::error::{PoolError, TaskError};
pub use self::rules::{POOL_CRASHES_DEFAULT, POOL_TRIES_DEFAULT, POOL_WORKERS_MAX};
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
/// refused.
///
/// # Fork safety
/// A forked child may call it.
///
/// # Crash
/// If a process is killed, another one takes its place and tries the item that it was working on again, three times in all. It
/// also repeats those items that the process had not reported yet: up to 2 ms of work. If this process is killed, the
/// others end.
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

//! Waiting for several sources at once.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use mp_sys::adaptive::Budget;
use mp_sys::deadline::Deadline;
use mp_sys::ready;

use crate::error::OsError;

thread_local! {
    /// What this thread has learnt about whether it pays to poll before sleeping.
    static BUDGET: Budget = const { Budget::new() };
}

/// Something that [`wait`] can wait for: a source alone, or a key and a source.
///
/// | source | its key |
/// |---|---|
/// | `(key, source)`, where the source has a descriptor | `key` |
/// | `&source`, or a `BorrowedFd` | its position, from 0 |
pub trait Source {
    /// The type that identifies a source that is ready.
    type Key;

    /// Returns the descriptor to wait for.
    #[doc(hidden)]
    fn file(&self) -> BorrowedFd<'_>;

    /// Returns the key of the source, which is at this position.
    #[doc(hidden)]
    fn into_key(self, position: usize) -> Self::Key;
}

impl<K, S: AsFd> Source for (K, S) {
    type Key = K;

    fn file(&self) -> BorrowedFd<'_> {
        self.1.as_fd()
    }

    fn into_key(self, _: usize) -> K {
        self.0
    }
}

impl<S: AsFd + ?Sized> Source for &S {
    type Key = usize;

    fn file(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn into_key(self, position: usize) -> usize {
        position
    }
}

impl Source for BorrowedFd<'_> {
    type Key = usize;

    fn file(&self) -> BorrowedFd<'_> {
        *self
    }

    fn into_key(self, position: usize) -> usize {
        position
    }
}

/// Waits at most `timeout` until at least one of `sources` is ready, and returns the keys of all that are ready, in order.
/// At the timeout it returns no keys (monotonic clock; `Duration::MAX` waits forever).
///
/// `sources` is any iterator over pairs of a key and a source: a `&HashMap` of connections by name, for example. The key of
/// a source without a key is its position. If the sources have several types, write them as `&dyn AsFd`.
///
/// Anything that has a descriptor is a source:
///
/// | source | ready when |
/// |---|---|
/// | connection, receiver | there is a message or the end of the stream |
/// | queue | there is an item, or the queue is closed |
/// | listener | there is a connection to accept |
/// | child | it has ended |
/// | file, socket | it can be read |
///
/// Another thread or process may take the message or item first, so use the `try_` methods on what is ready.
///
/// # Errors
/// `EINVAL` if there are more sources than the process may have descriptors.
///
/// # Fork safety
/// A forked child may wait for the sources that it inherited.
///
/// # Source
/// Python's `multiprocessing.connection.wait`; poll(2).
///
/// # Examples
/// ```
/// # extern crate kernel_ipc as mp;
/// use std::os::fd::AsFd;
/// use std::time::Duration;
///
/// let (quiet, from_quiet) = mp::pipe::<u32>()?;
/// let (busy, from_busy) = mp::pipe::<String>()?;
/// let ready = |timeout| mp::wait([("quiet", &from_quiet as &dyn AsFd), ("busy", &from_busy)], timeout);
/// assert!(ready(Duration::ZERO)?.is_empty());
/// busy.send("here")?;
/// assert_eq!(ready(Duration::MAX)?, ["busy"]);
/// drop(quiet); // the end of the stream counts as well
/// assert_eq!(ready(Duration::MAX)?, ["quiet", "busy"]);
/// // Without keys, `wait` returns positions.
/// assert_eq!(mp::wait([&from_quiet], Duration::MAX)?, [0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "epoll")]
#[doc(alias = "poll")]
#[doc(alias = "select")]
pub fn wait<I>(sources: I, timeout: Duration) -> Result<Vec<<I::Item as Source>::Key>, OsError>
where
    I: IntoIterator,
    I::Item: Source,
{
    let sources: Vec<I::Item> = sources.into_iter().collect();
    let ready = {
        let files: Vec<BorrowedFd<'_>> = sources.iter().map(Source::file).collect();
        BUDGET.with(|budget| ready::readable(&files, budget, Deadline::after(timeout)))?
    };
    let mut ready = ready.into_iter().peekable();
    let keys = sources.into_iter().enumerate().filter_map(|(position, source)| {
        ready.next_if_eq(&position).map(|position| source.into_key(position))
    });
    Ok(keys.collect())
}

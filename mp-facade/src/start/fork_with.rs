//! `fork_with`: a forked child that keeps only the ends of pipes that it is passed.

use std::collections::HashSet;
use std::os::fd::{AsRawFd, RawFd};

use mp_sys::child::ForkError;
use mp_sys::socket::Ended;
use mp_sys::travel;
use serde::Serialize;

use crate::child::Child;
use crate::start::fork::fork;
use crate::start::return_value::ReturnValue;

/// Runs `body` in a new process that has `handles`, and no other end of a pipe or connection.
///
/// The kernel reports the end of a stream when the last copy of the other end is closed, and a plain [`fork`] copies every
/// end. A child of this function keeps only the ends in `handles` open. All other ends of this process are closed in the
/// child, where using them returns the error for the end of a stream. `handles` may be one handle or many, in tuples, vectors
/// or any type with `Serialize`. If you pass a reference, this process keeps the handle too. A value goes to the child, and
/// is closed here.
///
/// The child closes the others when it begins, which may be a moment after this function has returned.
///
/// You need not pass shared objects of other kinds: the child has them as after [`fork`].
///
/// # Errors
/// The same as [`fork`]; [`ForkError::Handles`] if a value among the handles refuses to be encoded. `handles` are dropped
/// then.
///
/// # Fork safety
/// The same as [`fork`].
///
/// # Crash
/// The same as [`fork`].
///
/// # Source
/// Python's `multiprocessing` closes unused ends in a child only with the start method "spawn".
///
/// # Examples
/// ```standalone_crate
/// let (tx, rx) = mp::pipe::<u32>()?;
/// let (done, is_done) = mp::pipe::<()>()?;
/// let bystander = mp::fork_with(is_done, |is_done| is_done.recv().is_err())?;
/// let worker = mp::fork_with(tx, |tx| (0..3).for_each(|n| tx.send(&n).unwrap()))?;
/// // The end comes although the bystander is still running, and was forked while `tx` was open here.
/// assert_eq!(rx.iter().filter_map(Result::ok).sum::<u32>(), 3);
/// drop(done);
/// assert!(bystander.join()?);
/// worker.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn fork_with<H, R, F>(handles: H, body: F) -> Result<Child<R>, ForkError>
where
    H: Serialize,
    F: FnOnce(H) -> R,
    R: ReturnValue,
{
    let keep = numbers_of(&handles)?;
    let ended = Ended::new().map_err(|_| ForkError::OutOfDescriptors)?;
    fork(move || {
        // No documented reason makes this fail. If it does, the other ends stay open in the child.
        if let Err(error) = ended.replace_all_but(&keep) {
            tracing::warn!(%error, "a child keeps ends of pipes that it was not passed");
        }
        body(handles)
    })
}

/// Returns the descriptors that a message with these handles would carry.
fn numbers_of<H: Serialize>(handles: &H) -> Result<HashSet<RawFd>, ForkError> {
    let measure = || postcard::experimental::serialized_size(handles);
    let (encoded, luggage) = travel::encode(usize::MAX, measure);
    encoded.map_err(|_| ForkError::Handles)?;
    Ok(luggage.descriptors.iter().map(|file| file.as_raw_fd()).collect())
}

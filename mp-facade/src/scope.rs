//! `scope`: processes that have ended when a block ends, however it ends.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use mp_sys::child::ForkError;
use mp_sys::fork::Epoch;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::active::ActiveChild;
use crate::child::Child;
use crate::ending;
use crate::exit::ExitError;
use crate::running::Running;
use crate::start::arguments::Arguments;
use crate::start::error::StartError;
use crate::start::fork::fork;
use crate::start::fork_with::fork_with;
use crate::start::return_value::ReturnValue;
use crate::start::spawn::spawn;

/// Runs `body`, which can start processes in the scope, and returns when all of them have ended.
///
/// | `body` | children that are still running | `scope` returns |
/// |---|---|---|
/// | returns `Ok` | are waited for, for as long as they take | the same, or the error of a child that failed and was not joined |
/// | returns `Err`, as by `?` | are ended | the same |
/// | panics | are ended | nothing: the panic continues |
///
/// To end a child, the scope sends SIGTERM, and SIGKILL if the child is still running after
/// [`DAEMON_ENDING_MAX`](crate::DAEMON_ENDING_MAX). So a program that fails does not wait for a child that waits for the
/// program.
///
/// You may keep the handles, join them in the scope or later, or drop them.
///
/// # Errors
/// The errors of `body`, and the first [`ExitError`] of a child that did not return and was not joined.
///
/// # Fork safety
/// The scope belongs to the process that entered it. If a child starts processes in a scope that it inherited, they are
/// waited for at the end of the child.
///
/// # Crash
/// If this process is killed, the children go on, except for those that [die with their
/// parent](crate::Process::die_with_parent).
///
/// # Source
/// `std::thread::scope`, which panics if a thread panicked and was not joined; for the behaviour on errors, Python's
/// `asyncio.TaskGroup`.
///
/// # Examples
/// ```standalone_crate
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = mp::Queue::<u32>::new()?;
/// let failed = mp::scope(|s| {
///     // This child would wait for ever.
///     s.fork(|| queue.get().is_ok())?;
///     let number: u32 = "12a".parse()?;
///     queue.put(&number)?;
///     Ok::<_, Box<dyn std::error::Error>>(())
/// });
/// assert_eq!(failed.unwrap_err().to_string(), "invalid digit found in string");
/// assert!(mp::active_children().is_empty());
///
/// // All children have ended after the scope.
/// let sum = mp::RawValue::new(0_u32)?;
/// mp::scope(|s| {
///     for n in 1..=3 {
///         let sum = &sum;
///         s.fork(move || sum.fetch_add(n))?;
///     }
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })?;
/// assert_eq!(sum.load(), 6);
/// # Ok(())
/// # }
/// ```
pub fn scope<T, E>(body: impl FnOnce(&Scope) -> Result<T, E>) -> Result<T, E>
where
    E: From<ExitError>,
{
    let scope = Scope { children: Mutex::default(), owner: Epoch::current() };
    // If `body` returns an error or panics, dropping the scope ends the children.
    let value = body(&scope)?;
    match scope.join() {
        None => Ok(value),
        Some(failure) => Err(failure.into()),
    }
}

/// A scope for processes, which have ended when the call of [`scope`] returns.
///
/// | property | |
/// |---|---|
/// | shared between threads | yes |
/// | drop | ends the children that are still running, and waits for them; [`scope`] drops it |
///
/// # Fork safety
/// It belongs to the parent: dropping an inherited scope does nothing.
pub struct Scope {
    children: Mutex<Vec<Arc<Running>>>,
    owner: Epoch,
}

impl fmt::Debug for Scope {
    /// Shows the number of children that were started in it. It does not wait.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.children.try_lock() {
            Ok(children) => write!(f, "Scope({} started)", children.len()),
            Err(_) => f.write_str("Scope(in use)"),
        }
    }
}

impl Scope {
    /// Like [`fork`](crate::fork()), in this scope.
    ///
    /// # Errors
    /// The same as [`fork`](crate::fork()).
    pub fn fork<R, F>(&self, body: F) -> Result<Child<R>, ForkError>
    where
        F: FnOnce() -> R,
        R: ReturnValue,
    {
        fork(body).map(|child| self.adopt(child))
    }

    /// Like [`fork_with`](crate::fork_with()), in this scope.
    ///
    /// # Errors
    /// The same as [`fork_with`](crate::fork_with()).
    pub fn fork_with<H, R, F>(&self, handles: H, body: F) -> Result<Child<R>, ForkError>
    where
        H: Serialize,
        F: FnOnce(H) -> R,
        R: ReturnValue,
    {
        fork_with(handles, body).map(|child| self.adopt(child))
    }

    /// Like [`spawn`](crate::spawn()), in this scope.
    ///
    /// # Errors
    /// The same as [`spawn`](crate::spawn()).
    pub fn spawn<A, R>(&self, worker: fn(A) -> R, args: impl Arguments<A>) -> Result<Child<R>, StartError>
    where
        A: DeserializeOwned,
        R: ReturnValue,
    {
        spawn(worker, args).map(|child| self.adopt(child))
    }

    /// Takes a child that was started by other means, such as [`Process`](crate::Process), into this scope, and returns its
    /// handle.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use mp::{Method, Process};
    ///
    /// let twice = mp::scope(|s| {
    ///     let child = Process::new().method(Method::ForkServer).start(|n: u32| 2 * n, 21)?;
    ///     Ok::<_, Box<dyn std::error::Error>>(s.adopt(child).join()?)
    /// })?;
    /// assert_eq!(twice, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn adopt<R: DeserializeOwned>(&self, child: Child<R>) -> Child<R> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner).extend(child.share());
        child
    }

    /// Waits for all children, and returns the error of the first one that failed and was not joined.
    fn join(&self) -> Option<ExitError> {
        let failure_of = |child: Arc<Running>| if child.is_known() { None } else { child.failure() };
        // Does not stop at the first error: all children must have ended afterwards.
        self.take().into_iter().filter_map(failure_of).reduce(|first, _| first)
    }

    fn take(&self) -> Vec<Arc<Running>> {
        std::mem::take(&mut self.children.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        if !self.owner.is_current() {
            return;
        }
        let children: Vec<_> = self.take().into_iter().map(ActiveChild::new).collect();
        ending::end(&children);
    }
}

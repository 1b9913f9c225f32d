//! Who the calling process is, and who started it.
//!
//! What a child is told at its start lies in two words, since a forked child pays for every page that it writes to; the
//! rest only if there is more to say. A process that was forked by other means than this crate finds its parent's words,
//! sees that they are not about itself, and is a main process.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use mp_sys::OsError;
use mp_sys::child::{note_start, own_pid, started_by};
use mp_sys::deadline::Deadline;
use mp_sys::fork::PerProcess;
use mp_sys::line::Short;
use mp_sys::ready;
use mp_sys::reexec::Parent;

use crate::running::default_name;

static MORE: PerProcess<More> = PerProcess::new();

#[derive(Debug, Default)]
struct More {
    name: Option<String>,
    daemon: bool,
    /// Once it was asked for.
    parent: Option<Arc<Parent>>,
}

/// Notes who this process is, at its start.
#[inline]
pub(crate) fn enter(parent_pid: u32, name: Option<&str>, daemon: bool, parent: Option<Parent>) {
    note_start(parent_pid);
    Parent::keep(parent);
    if name.is_some() || daemon {
        *MORE.lock() = More { name: name.map(str::to_owned), daemon, parent: None };
    }
}

/// The calling process.
///
/// # Source
/// Python's `multiprocessing.current_process`.
///
/// # Examples
/// ```standalone_crate
/// assert_eq!(mp::current_process().name(), "MainProcess");
/// let child = mp::Process::new().name("counter").fork(|| mp::current_process().name().to_owned())?;
/// assert_eq!(child.join()?, "counter");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn current_process() -> CurrentProcess {
    let pid = own_pid();
    if started_by().is_none() {
        return CurrentProcess { pid, name: "MainProcess".to_owned(), daemon: false };
    }
    let more = MORE.lock();
    let name = more.name.clone().unwrap_or_else(|| default_name(pid));
    CurrentProcess { pid, name, daemon: more.daemon }
}

/// What [`current_process`] tells.
#[derive(Clone, PartialEq, Eq)]
pub struct CurrentProcess {
    pid: u32,
    name: String,
    daemon: bool,
}

impl CurrentProcess {
    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The name that it was given; `Process-` and its id if none, and `MainProcess` if it was not started by this library.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is asked to end at the end of its parent.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.daemon
    }
}

/// The process that started the calling one; `None` if that was not by this library.
///
/// # Errors
/// [`OsError`] if there is no free descriptor.
///
/// # Source
/// Python's `multiprocessing.parent_process`.
///
/// # Examples
/// ```standalone_crate
/// assert!(mp::parent_process()?.is_none());
/// let child = mp::fork(|| mp::parent_process().unwrap().map(|parent| (parent.pid(), parent.is_alive())))?;
/// assert_eq!(child.join()?, Some((mp::current_process().pid(), true)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn parent_process() -> Result<Option<ParentProcess>, OsError> {
    let Some(pid) = started_by() else {
        return Ok(None);
    };
    let mut more = MORE.lock();
    let parent = match &more.parent {
        Some(parent) => Arc::clone(parent),
        None => {
            let parent = Parent::kept()?.map_or_else(|| Parent::of_forked(pid), Ok)?;
            Arc::clone(more.parent.insert(Arc::new(parent)))
        }
    };
    Ok(Some(ParentProcess { pid, parent }))
}

/// Ties the calling process to its parent again, if it was started with
/// [`die_with_parent`](crate::Process::die_with_parent); `false` if it was not.
///
/// Needed after it has changed its user as root of a user namespace, or to a user who may not be signalled by the one before:
/// the kernel compares the two. It does no harm elsewhere. If the parent has ended in between, this process ends by SIGKILL
/// now, as it would have.
///
/// # Errors
/// [`OsError`] if the kernel refuses.
///
/// # Fork safety
/// A forked child is not tied to what its parent is tied to: `false`.
///
/// # Examples
/// ```standalone_crate
/// assert!(!mp::renew_die_with_parent()?);
/// let process = mp::Process::new().die_with_parent(true);
/// let child = process.fork(|| {
///     // ... setgid, setuid ...
///     mp::renew_die_with_parent().unwrap()
/// })?;
/// assert!(child.join()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn renew_die_with_parent() -> Result<bool, OsError> {
    mp_sys::child::renew()
}

/// The process that started the calling one. Its end can be waited for, however it comes.
#[derive(Clone)]
pub struct ParentProcess {
    pid: u32,
    parent: Arc<Parent>,
}

impl ParentProcess {
    /// Its process id at the start. Ids are reused after a process has ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.parent.has_ended()
    }

    /// Waits at most `timeout` until it has ended (monotonic clock; `Duration::MAX` waits for ever); `false` if it still runs
    /// then.
    ///
    /// # Errors
    /// [`OsError`] if the kernel has no memory to wait.
    #[doc(alias = "join")]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, OsError> {
        self.parent.wait(Deadline::after(timeout))
    }
}

impl AsFd for ParentProcess {
    /// Readable once the parent has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.parent.as_fd()
    }
}

impl fmt::Debug for CurrentProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let daemon = if self.daemon { ", daemon" } else { "" };
        write!(f, "CurrentProcess({} {}{daemon})", self.pid, Short(&self.name))
    }
}

impl fmt::Debug for ParentProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if ready::is_readable(self.as_fd()) { "ended" } else { "running" };
        write!(f, "ParentProcess({}, {state})", self.pid)
    }
}

//! The identity of the calling process and of its parent.
//!
//! At its start, a child stores what it knows about itself in two words, since a forked child pays for every page that it
//! writes to. It stores more only if it has a name or other settings. A process that was forked by other means than this
//! crate finds its parent's words, sees that they are not about itself, and counts as a main process.

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
    /// Opened by the first call that needs it.
    parent: Option<Arc<Parent>>,
}

/// Records the identity of this process at its start.
#[inline]
pub(crate) fn enter(parent_pid: u32, name: Option<&str>, daemon: bool, parent: Option<Parent>) {
    note_start(parent_pid);
    Parent::keep(parent);
    if name.is_some() || daemon {
        *MORE.lock() = More { name: name.map(str::to_owned), daemon, parent: None };
    }
}

/// Returns a description of the calling process.
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

/// A description of the calling process, as [`current_process`] returns it.
#[derive(Clone, PartialEq, Eq)]
pub struct CurrentProcess {
    pid: u32,
    name: String,
    daemon: bool,
}

impl CurrentProcess {
    /// Returns the process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns its name. The default is `Process-` and its id, or `MainProcess` if this library did not start it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether it is a daemon, which its parent asks to end when the parent itself ends.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.daemon
    }
}

/// Returns the process that started the calling one, or `None` if this library did not start it.
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

/// Ties the calling process to its parent again, if it was started with [`die_with_parent`](crate::Process::die_with_parent).
/// Returns `false` if it was not.
///
/// You need this after the process has changed its user as root of a user namespace, or to a user whom the previous user may
/// not signal: the kernel compares the two. It does no harm elsewhere. If the parent has ended in between, this call ends the
/// process by SIGKILL, as the tie would have.
///
/// # Errors
/// [`OsError`] if the kernel refuses.
///
/// # Fork safety
/// A forked child does not inherit its parent's tie, so this returns `false` there.
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

/// The process that started the calling one. You can wait for its end, however it ends.
#[derive(Clone)]
pub struct ParentProcess {
    pid: u32,
    parent: Arc<Parent>,
}

impl ParentProcess {
    /// Returns its process id. Ids are reused after a process has ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns whether it is still running.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.parent.has_ended()
    }

    /// Waits at most `timeout` until it has ended (monotonic clock; `Duration::MAX` waits for ever). Returns `false` if it is
    /// still running then.
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

//! The list of the children that this process still has to handle: for handles, for `active_children`, and for its end.
//!
//! The list belongs to the process: a forked child begins with an empty one. A child is on the list from its start until its
//! handle is dropped. If it is still running then, it stays on the list until a later look finds that it has ended. So
//! nothing is leaked, no thread is needed, and the child's place for its result stays as long as the child may use it.
//!
//! At its end, the process ends the children on the list or waits for them; see [`finish`].

use std::fmt;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mp_sys::child::{Ended, at_exit, has_children_noted, note_child};
use mp_sys::crash;
use mp_sys::deadline::Deadline;
use mp_sys::fork::PerProcess;
use mp_sys::line::Short;
use mp_sys::ready;
use mp_sys::reexec::Line;

use crate::active::ActiveChild;
use crate::ending;
use crate::exit::ExitError;
use crate::handle::Handle;
use crate::outcome::Lease;
use crate::process::Method;

/// The record of a child.
pub(crate) struct Running {
    pub(crate) process: Handle,
    pub(crate) lease: Lease,
    /// The stream by which an executed child says why it does not run its worker.
    pub(crate) line: Option<Line>,
    pub(crate) about: About,
    /// Whether the last handle, which could be joined, was dropped.
    abandoned: AtomicBool,
    /// Whether a join has returned how it ended.
    is_known: AtomicBool,
}

/// The settings of a child.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    pub(crate) name: Option<String>,
    pub(crate) method: Method,
    pub(crate) daemon: bool,
    /// Whether the kernel ends it with this process, which then does not wait for it.
    pub(crate) dies_with_parent: bool,
}

static LIST: PerProcess<Vec<Arc<Running>>> = PerProcess::new();
/// How many children on the list are abandoned. A look at this number first touches no page that a fork would have to copy. A
/// forked child begins with its parent's number, and corrects it at its first look.
static ABANDONED: AtomicUsize = AtomicUsize::new(0);
static HANDLER_IS_SET: AtomicBool = AtomicBool::new(false);

impl Running {
    /// Puts a child that was just started on the list.
    pub(crate) fn add(process: Handle, lease: Lease, line: Option<Line>, about: About) -> Arc<Self> {
        let running = Self {
            process,
            lease,
            line,
            about,
            abandoned: AtomicBool::new(false),
            is_known: AtomicBool::new(false),
        };
        let running = Arc::new(running);
        LIST.lock_briefly().push(Arc::clone(&running));
        crash::point();
        note_child();
        // Read first, so that no page has to be copied.
        let is_set = HANDLER_IS_SET.load(Ordering::Relaxed) || HANDLER_IS_SET.swap(true, Ordering::Relaxed);
        if !is_set && !at_exit(finish_at_exit) {
            tracing::warn!("the program will not wait for its children at its end: no memory for a handler");
        }
        crash::point();
        running
    }

    /// Returns its name. Python's default is `Process-1`; here the number is the process id.
    pub(crate) fn name(&self) -> String {
        self.about.name.clone().unwrap_or_else(|| default_name(self.process.id()))
    }

    /// Writes the child's id, its name if it has one, and whether it is still running. It neither waits nor reaps.
    pub(crate) fn show(&self, handle: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{handle}(process {}", self.process.id())?;
        if let Some(name) = &self.about.name {
            write!(f, " {}", Short(name))?;
        }
        let has_ended = self.process.is_known_to_have_ended() || ready::is_readable(self.process.as_fd());
        f.write_str(if has_ended { ", ended)" } else { ", running)" })
    }

    /// Records that a join has returned how it ended.
    pub(crate) fn note_known(&self) {
        self.is_known.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// Waits for the child, and returns how it ended, whatever its value is.
    pub(crate) fn failure(&self) -> Option<ExitError> {
        match self.process.wait(Deadline::NEVER) {
            Ok(ended) => self.failure_of(ended?),
            Err(error) => Some(error.into()),
        }
    }

    fn failure_of(&self, ended: Ended) -> Option<ExitError> {
        let left = || self.lease.outcome().failure();
        match ended {
            Ended::Signaled(signal) => Some(ExitError::Signaled(signal)),
            Ended::Exited(code) => left().unwrap_or_else(|| Some(self.exited(code))),
            Ended::Unknown => left().unwrap_or(Some(ExitError::StatusLost)),
        }
    }

    /// Returns the error for a child that ended by itself and left nothing.
    pub(crate) fn exited(&self, code: i32) -> ExitError {
        self.line.as_ref().and_then(Line::refusal).map_or(ExitError::Exited(code), ExitError::NotRun)
    }

    pub(crate) fn has_ended(&self) -> bool {
        let ended = self.process.wait(Deadline::after(Duration::ZERO));
        // Only the parent knows how a child ended. In another process, the child is not on the list either.
        ended.is_ok_and(|ended| ended.is_some())
    }

    /// Marks the child as abandoned, when its last handle is dropped.
    pub(crate) fn abandon(self: Arc<Self>) {
        if !self.lease.is_of_this_process() {
            return;
        }
        if self.process.is_known_to_have_ended() {
            let mut list = LIST.lock_briefly();
            if let Some(at) = list.iter().rposition(|other| Arc::ptr_eq(other, &self)) {
                let removed = list.swap_remove(at);
                drop(list);
                drop(removed);
            }
        } else {
            self.abandoned.store(true, Ordering::Relaxed);
            ABANDONED.fetch_add(1, Ordering::Relaxed);
        }
        drop(self);
        reap_abandoned();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("process", &self.process)
            .field("about", &self.about)
            .finish_non_exhaustive()
    }
}

/// Returns the default name of a process.
pub(crate) fn default_name(pid: u32) -> String {
    format!("Process-{pid}")
}

/// Reaps the children that have ended and whose handles were dropped.
pub(crate) fn reap_abandoned() {
    if ABANDONED.load(Ordering::Relaxed) == 0 {
        return;
    }
    let mut list = LIST.lock();
    let is_done =
        |running: &mut Arc<Running>| running.abandoned.load(Ordering::Relaxed) && running.has_ended();
    let done: Vec<Arc<Running>> = list.extract_if(.., is_done).collect();
    let left = list.iter().filter(|running| running.abandoned.load(Ordering::Relaxed)).count();
    ABANDONED.store(left, Ordering::Relaxed);
    drop(list);
    drop(done);
}

/// Returns the children of this process that are still running, in no particular order.
///
/// These are the children started by [`fork`](crate::fork()), [`spawn`](crate::spawn()) and [`Process`](crate::Process), even
/// if their handles were dropped. This call also reaps children that have ended; their handles can still be joined.
///
/// # Fork safety
/// A forked child begins with no children.
///
/// # Source
/// Python's `multiprocessing.active_children`, which joins those that have ended.
///
/// # Examples
/// ```standalone_crate
/// let child = mp::fork(|| loop { std::thread::park() })?;
/// let active = mp::active_children();
/// assert_eq!(active.iter().map(|child| child.pid()).collect::<Vec<_>>(), [child.pid()]);
/// child.kill()?;
/// assert_eq!(child.join(), Err::<(), _>(mp::ExitError::Signaled(9)));
/// assert!(mp::active_children().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn active_children() -> Vec<ActiveChild> {
    reap_abandoned();
    if !has_children_noted() {
        return Vec::new();
    }
    let all: Vec<Arc<Running>> = LIST.lock().clone();
    all.into_iter().filter(|running| !running.has_ended()).map(ActiveChild::new).collect()
}

/// Ends the fork server, unless it has children that may still be running.
pub(crate) fn release_server() {
    if !has_children_noted() {
        return;
    }
    let is_served =
        |running: &Arc<Running>| running.about.method == Method::ForkServer && !running.has_ended();
    if !LIST.lock().iter().any(is_served) {
        mp_sys::forkserver::stop();
    }
}

extern "C" fn finish_at_exit() {
    finish();
}

/// Ends the children of this process: asks daemons to end, by SIGTERM, kills those that do not, and waits for all except
/// those that die with this process.
///
/// # Source
/// Python's `multiprocessing.util._exit_function`, which waits for ever for a daemon that blocks SIGTERM.
#[inline]
pub(crate) fn finish() {
    if has_children_noted() {
        finish_children();
    }
}

#[cold]
fn finish_children() {
    let active = active_children();
    let waited_for: Vec<_> = active.into_iter().filter(|child| !child.dies_with_parent()).collect();
    ending::finish(&waited_for);
}

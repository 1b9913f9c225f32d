//! The processes that this one has started and not yet done with: for handles, for `active_children`, and for the end.
//!
//! The list belongs to the process: a forked child begins with none. A process is on it from its start until its handle is
//! dropped; or, if it still runs then, until a later look finds that it has ended. So nothing is leaked, no thread is
//! needed, and what a child may still use (its place for the result) stays as it is.
//!
//! At the end of the process, whoever is on the list is ended or waited for, see [`finish`].

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

/// What is known of a process that was started here.
pub(crate) struct Running {
    pub(crate) process: Handle,
    pub(crate) lease: Lease,
    /// Through which a child that was executed says why it runs nothing.
    pub(crate) line: Option<Line>,
    pub(crate) about: About,
    /// No handle is left that could be joined.
    abandoned: AtomicBool,
    /// Its starter knows how it ended: a join said so.
    is_known: AtomicBool,
}

/// What its starter decided.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    pub(crate) name: Option<String>,
    pub(crate) method: Method,
    pub(crate) daemon: bool,
    /// The kernel ends it with this process, so that nobody waits for it then.
    pub(crate) dies_with_parent: bool,
}

static LIST: PerProcess<Vec<Arc<Running>>> = PerProcess::new();
/// How many on the list are abandoned. Looking here first touches no page that a fork would have to copy. A forked child
/// begins with its parent's number, and puts it right at its first look.
static ABANDONED: AtomicUsize = AtomicUsize::new(0);
static HANDLER_IS_SET: AtomicBool = AtomicBool::new(false);

impl Running {
    /// Puts a process that was just started on the list.
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
        // Looked at first, so that no page has to be copied.
        let is_set = HANDLER_IS_SET.load(Ordering::Relaxed) || HANDLER_IS_SET.swap(true, Ordering::Relaxed);
        if !is_set && !at_exit(finish_at_exit) {
            tracing::warn!(
                "children will not be waited for at the end of the program: no memory for a handler"
            );
        }
        crash::point();
        running
    }

    /// What Python calls it `Process-1`: there is one number for each process here, its id.
    pub(crate) fn name(&self) -> String {
        self.about.name.clone().unwrap_or_else(|| default_name(self.process.id()))
    }

    /// The child's id, its name if it was given one, and whether it still runs. It does not wait, and does not reap.
    pub(crate) fn show(&self, handle: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{handle}(process {}", self.process.id())?;
        if let Some(name) = &self.about.name {
            write!(f, " {}", Short(name))?;
        }
        let has_ended = self.process.is_known_to_have_ended() || ready::is_readable(self.process.as_fd());
        f.write_str(if has_ended { ", ended)" } else { ", running)" })
    }

    /// Notes that a join has said how it ended.
    pub(crate) fn note_known(&self) {
        self.is_known.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// How it ended, whatever its value is; waits for it.
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

    /// Why one that ended by itself left nothing.
    pub(crate) fn exited(&self, code: i32) -> ExitError {
        self.line.as_ref().and_then(Line::refusal).map_or(ExitError::Exited(code), ExitError::NotRun)
    }

    pub(crate) fn has_ended(&self) -> bool {
        let ended = self.process.wait(Deadline::after(Duration::ZERO));
        // Who is not the parent does not know: then it is not on its list either.
        ended.is_ok_and(|ended| ended.is_some())
    }

    /// Called when its last handle is dropped.
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

/// The name of a process that was given none.
pub(crate) fn default_name(pid: u32) -> String {
    format!("Process-{pid}")
}

/// Reaps children whose handles were dropped, as far as they have ended.
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

/// The children of this process that still run, in no particular order.
///
/// Those that were started by [`fork`](crate::fork()), [`spawn`](crate::spawn()) and [`Process`](crate::Process), whether or not
/// their handles were dropped. Children that have ended are reaped by the way; their handles can still be joined.
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

/// Ends the fork server unless it has children that may still run.
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

/// Brings the children of this process to an end: asks daemons to end, by SIGTERM, kills those that do not, and waits for all but
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

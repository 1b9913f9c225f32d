//! A process that is to be started, with all that can be said about it.

use std::fmt;

use mp_sys::child::{Lifeline, is_main_thread, own_pid};
use mp_sys::line::Short;
use serde::de::DeserializeOwned;

use crate::child::Child;
use crate::running::About;
use crate::start::arguments::Arguments;
use crate::start::error::StartError;
use crate::start::return_value::ReturnValue;
use crate::start::{NAME_BYTES_MAX, fork, spawn};

/// How a process is started.
#[doc(alias = "set_start_method")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Method {
    /// As a copy of this process: see [`fork`](crate::fork()). Fastest, refused beside other threads.
    Fork,
    /// Afresh, by executing the program again: see [`spawn`](crate::spawn()).
    #[default]
    Spawn,
    /// By a server process, which executes the program once and forks for each child: as clean as [`Spawn`](Self::Spawn),
    /// slower than [`Fork`](Self::Fork), and many times faster than [`Spawn`](Self::Spawn).
    ///
    /// The server is started with the first child, and ends with this process; also by
    /// [`release_unused_memory`](crate::release_unused_memory), if it has no children left. Environment, working folder and
    /// limits of a child are those of the moment when the server was started. If the server is killed, its children go on,
    /// and how they end is [`StatusLost`](crate::ExitError::StatusLost); the next start makes another. If it is stopped, a
    /// start is [`ServerSilent`](StartError::ServerSilent).
    ForkServer,
}

/// A process that is to be started.
///
/// | setting | default |
/// |---|---|
/// | [`name`](Self::name) | `Process-` and its id |
/// | [`method`](Self::method) | [`Method::Spawn`] |
/// | [`daemon`](Self::daemon) | no: it is waited for at the end of this process |
/// | [`die_with_parent`](Self::die_with_parent) | no: it goes on if this process is killed |
///
/// # At the end of this process
/// When it returns from `main` or calls `exit`, it asks its daemons to end, by SIGTERM, and waits for its children, for
/// as long as they take; but a daemon that has not ended after [`DAEMON_ENDING_MAX`](crate::DAEMON_ENDING_MAX), because it
/// blocks SIGTERM or is stopped, is killed. Children that die with it are not waited for: they end right afterwards. If it has to
/// wait, it says so: by an event of `tracing`, and after a second by a line on stderr that names the children. So does a child
/// that was started by this library, when its closure or worker has returned. A process that is killed, aborts or calls `_exit`
/// does neither: its children go on, but for those that die with it. See [`scope`](crate::scope()) for children that are not to
/// outlive a function.
///
/// # Source
/// Python's `multiprocessing.Process`; differs: a daemon may have children, and is killed if it does not end.
///
/// # Examples
/// ```standalone_crate
/// use mp::{Method, Process};
///
/// let twice = |n: u64| 2 * n;
/// let child = Process::new().name("doubler").method(Method::Spawn).die_with_parent(true).start(twice, 21)?;
/// assert_eq!(child.name(), "doubler");
/// assert_eq!(child.join()?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What cannot travel does not compile, whatever the method: neither as an argument
/// ```compile_fail,E0277
/// fn never(_: std::sync::mpsc::Receiver<u8>) {}
/// # let process = mp::Process::new().method(mp::Method::Fork);
/// process.start(never, std::sync::mpsc::channel().1);
/// ```
/// nor as a result.
/// ```compile_fail,E0277
/// # let process = mp::Process::new().method(mp::Method::ForkServer);
/// process.start(|()| std::sync::mpsc::channel::<u8>(), ());
/// ```
#[derive(Clone, Default)]
#[must_use = "a process runs once it is started"]
pub struct Process {
    about: About,
    die_with_parent: bool,
}

impl Process {
    /// A process with default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names it, for people: at most [`NAME_BYTES_MAX`] bytes. `ps` shows the name, unless the process is forked.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.about.name = Some(name.into());
        self
    }

    /// How [`start`](Self::start) starts it.
    pub fn method(mut self, method: Method) -> Self {
        self.about.method = method;
        self
    }

    /// Whether it is asked to end, by SIGTERM, when this process ends in order, rather than only waited for; and killed if it
    /// does not.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.about.daemon = daemon;
        self
    }

    /// Whether the kernel ends it by SIGKILL when this process ends, however that happens, or executes another program. It is
    /// not waited for then.
    ///
    /// Any thread may start it, and may end before it. It may change its user; one that does so as root of a user namespace,
    /// as in a container without privileges, calls [`renew_die_with_parent`](crate::renew_die_with_parent) afterwards. One
    /// that executes another program is held on only if the main thread started it, or the fork server.
    pub fn die_with_parent(mut self, die: bool) -> Self {
        self.die_with_parent = die;
        self
    }

    /// Starts it, to call `worker` with `args`; see [`spawn`](crate::spawn()) for what both can be. With
    /// [`Method::Fork`] the arguments travel in serialized form as well, and the child holds no other ends of pipes, so that
    /// a worker finds the same in each way.
    ///
    /// # Errors
    /// [`StartError`]: there is no process then.
    pub fn start<A, R>(self, worker: fn(A) -> R, args: impl Arguments<A>) -> Result<Child<R>, StartError>
    where
        A: DeserializeOwned,
        R: ReturnValue,
    {
        let birth = self.check()?;
        match birth.about.method {
            Method::Fork => spawn::start_forked(birth, worker, &args),
            Method::Spawn | Method::ForkServer => spawn::start(birth, worker, &args),
        }
    }

    /// Starts it by fork, whatever [`method`](Self::method) says, to run `body`; see [`fork`](crate::fork()).
    ///
    /// # Errors
    /// [`StartError::Fork`], [`StartError::Name`]: there is no process then.
    pub fn fork<R, F>(mut self, body: F) -> Result<Child<R>, StartError>
    where
        F: FnOnce() -> R,
        R: ReturnValue,
    {
        self.about.method = Method::Fork;
        Ok(fork::start_as(self.check()?, |run| mp_sys::child::fork(run), body)?)
    }

    fn check(self) -> Result<Birth, StartError> {
        let Self { about, die_with_parent } = self;
        if about.name.as_ref().is_some_and(|name| name.len() > NAME_BYTES_MAX || name.contains('\0')) {
            return Err(StartError::Name);
        }
        let about = About { dies_with_parent: die_with_parent, ..about };
        let tie = if die_with_parent {
            let line = Lifeline::new().map_err(StartError::of_os)?;
            Some(Tie { line, lives: about.method == Method::ForkServer || is_main_thread() })
        } else {
            None
        };
        Ok(Birth { about, tie, parent_pid: own_pid() })
    }
}

/// What ends a process with its parent.
#[derive(Debug)]
pub(crate) struct Tie {
    pub(crate) line: Lifeline,
    /// Whether the thread that starts it lives as long as its process.
    pub(crate) lives: bool,
}

/// What a process begins with.
#[derive(Debug)]
pub(crate) struct Birth {
    pub(crate) about: About,
    /// If it dies with its parent.
    pub(crate) tie: Option<Tie>,
    pub(crate) parent_pid: u32,
}

impl Birth {
    /// Of a process about which only the method is known.
    pub(crate) fn by(method: Method) -> Self {
        let about = About { method, ..About::default() };
        Self { about, tie: None, parent_pid: own_pid() }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({:?}", self.about.method)?;
        if let Some(name) = &self.about.name {
            write!(f, ", {}", Short(name))?;
        }
        f.write_str(if self.about.daemon { ", daemon" } else { "" })?;
        f.write_str(if self.die_with_parent { ", dies with its parent)" } else { ")" })
    }
}

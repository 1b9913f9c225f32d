//! The settings of a process that will be started.

use std::fmt;

use mp_sys::child::{Lifeline, is_main_thread, own_pid};
use mp_sys::line::Short;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::child::Child;
use crate::running::About;
use crate::start::arguments::Arguments;
use crate::start::error::StartError;
use crate::start::return_value::ReturnValue;
use crate::start::spawn::{CallOnce, Work};
use crate::start::{NAME_BYTES_MAX, fork, spawn};

/// How a process is started.
#[doc(alias = "set_start_method")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Method {
    /// As a copy of this process: see [`fork`](crate::fork()). This is the fastest method. It is refused while other threads
    /// run.
    Fork,
    /// As a fresh process, which executes the program again: see [`spawn`](crate::spawn()).
    #[default]
    Spawn,
    /// By a server process, which executes the program once and forks for each child. This is as clean as
    /// [`Spawn`](Self::Spawn) and many times faster, but slower than [`Fork`](Self::Fork).
    ///
    /// The server starts with the first child, and ends with this process.
    /// [`release_unused_memory`](crate::release_unused_memory) also ends it if it has no children left. A child has the
    /// environment, working folder and limits of the moment when the server started. If the server is killed, its children go
    /// on, joining them returns [`StatusLost`](crate::ExitError::StatusLost), and the next start makes a new server. While
    /// the server is stopped, a start returns [`ServerSilent`](StartError::ServerSilent).
    ForkServer,
}

/// The settings of a process that will be started, and the methods that start it.
///
/// | setting | default |
/// |---|---|
/// | [`name`](Self::name) | `Process-` and its id |
/// | [`method`](Self::method) | [`Method::Spawn`] |
/// | [`daemon`](Self::daemon) | no: this process waits for it at its end |
/// | [`die_with_parent`](Self::die_with_parent) | no: it goes on if this process is killed |
///
/// # At the end of this process
/// When this process returns from `main` or calls `exit`, it asks its daemons to end, by SIGTERM, and waits for its children
/// for as long as they take. It kills a daemon that has not ended after [`DAEMON_ENDING_MAX`](crate::DAEMON_ENDING_MAX),
/// because it blocks SIGTERM or is stopped. It does not wait for children that die with it: they end right afterwards. If it
/// has to wait, it emits a `tracing` event, and after a second it prints one line on stderr that names the children. A child
/// that this library started does the same when its closure or worker has returned. A process that is killed, aborts or calls
/// `_exit` does none of this: its children go on, except for those that die with it. If children must not outlive a function,
/// use [`scope`](crate::scope()).
///
/// # Source
/// Python's `multiprocessing.Process`. Differences: a daemon may have children, and is killed if it does not end.
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
/// Types that cannot travel do not compile, whatever the method: neither as an argument
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

    /// Sets its name for people to read, of at most [`NAME_BYTES_MAX`] bytes. `ps` shows the name, unless the process is
    /// forked.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.about.name = Some(name.into());
        self
    }

    /// Sets how [`start`](Self::start) starts it.
    pub fn method(mut self, method: Method) -> Self {
        self.about.method = method;
        self
    }

    /// Sets whether the process is a daemon. When this process ends in order, it asks its daemons to end, by SIGTERM, instead
    /// of only waiting for them, and kills those that do not.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.about.daemon = daemon;
        self
    }

    /// Sets whether the kernel ends it by SIGKILL when this process ends, however that happens, or executes another program.
    /// This process does not wait for it then.
    ///
    /// Any thread may start it, and may end before it. The child may change its user. If it does so as root of a user
    /// namespace, as in a container without privileges, it must call [`renew_die_with_parent`](crate::renew_die_with_parent)
    /// afterwards. If it executes another program, the tie remains only if the main thread or the fork server started it.
    pub fn die_with_parent(mut self, die: bool) -> Self {
        self.die_with_parent = die;
        self
    }

    /// Starts it, to call `worker` with `args`. See [`spawn`](crate::spawn()) for what these can be. With [`Method::Fork`],
    /// the arguments also travel in serialized form, and the child holds no other ends of pipes, so a worker finds the same
    /// state with each method.
    ///
    /// # Errors
    /// [`StartError`]: no process was started then.
    pub fn start<A, R>(self, worker: fn(A) -> R, args: impl Arguments<A>) -> Result<Child<R>, StartError>
    where
        A: DeserializeOwned,
        R: ReturnValue,
    {
        self.start_work::<CallOnce, A, R>(worker, &args)
    }

    /// Starts it, to do some work with a function and arguments.
    pub(crate) fn start_work<W: Work<A, R>, A, R>(
        self,
        function: fn(A) -> R,
        args: &impl Serialize,
    ) -> Result<Child<W::Value>, StartError> {
        let birth = self.check()?;
        match birth.about.method {
            Method::Fork => spawn::start_forked::<W, A, R>(birth, function, args),
            Method::Spawn | Method::ForkServer => spawn::start::<W, A, R>(birth, function, args),
        }
    }

    /// Starts it by fork, whatever the [`method`](Self::method), to run `body`. See [`fork`](crate::fork()).
    ///
    /// # Errors
    /// [`StartError::Fork`], [`StartError::Name`]: no process was started then.
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

/// The tie that ends a process with its parent.
#[derive(Debug)]
pub(crate) struct Tie {
    pub(crate) line: Lifeline,
    /// Whether the thread that starts it lives as long as its process.
    pub(crate) lives: bool,
}

/// The state with which a process begins.
#[derive(Debug)]
pub(crate) struct Birth {
    pub(crate) about: About,
    /// Present if it dies with its parent.
    pub(crate) tie: Option<Tie>,
    pub(crate) parent_pid: u32,
}

impl Birth {
    /// Makes the settings of a process with only a method.
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

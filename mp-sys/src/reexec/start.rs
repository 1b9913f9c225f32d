//! The parent's side: starts a process for a function.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, getpid};

use super::image::Image;
use super::order::{Order, names};
use super::{Entry, LABEL_BYTES_MAX, Refusal, takeover};
use crate::OsError;
use crate::child::{ChildProcess, Ended, adopt, reap_abandoned};
use crate::crash;
use crate::descriptors::{duplicate, open, packet_socketpair, pidfd_open};
use crate::robust::Patience;
use crate::socket::{Endpoint, Head, SendFailure};

/// The file to execute: the one that is running, even if it was removed or replaced.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Why there is no child. Nothing has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The function, or this crate, lies in a shared library, which the program alone does not load.
    #[error("a function of a shared library cannot be started: only one of the program itself")]
    NotInProgram,
    /// The label has more than [`LABEL_BYTES_MAX`] bytes, or contains a zero byte.
    #[error("a label has at most {LABEL_BYTES_MAX} bytes, and no zero byte")]
    Label,
    /// The program has rights that its user does not have (set-user-id, capabilities of the file).
    #[error("a program with more rights than its user is not started again")]
    Privileged,
    /// The program cannot be executed again: /proc is not mounted, the system does not permit it, or the program was
    /// not executed but passed to the loader as an argument.
    #[error("the program cannot be executed again: {0}")]
    NotExecutable(#[source] OsError),
    /// The limit of processes is reached (`RLIMIT_NPROC`, pid limit of the control group or the system).
    #[error("the limit of processes is reached")]
    OutOfProcesses,
    /// There is no memory for another process.
    #[error("no memory for another process")]
    OutOfMemory,
    /// There are no free descriptors for the child's handle and socket.
    #[error("no free file descriptor for the child")]
    OutOfDescriptors,
    /// The argument of the function has more bytes than [`CALL_BYTES_MAX`](super::CALL_BYTES_MAX).
    #[error("the argument of the function has {found} bytes, and the limit is {limit}")]
    TooLarge {
        /// Bytes of the argument.
        found: usize,
        /// The most bytes that it may have.
        limit: usize,
    },
    /// The argument of the function needs a file that exceeds this process's limit for the length of a file
    /// (`RLIMIT_FSIZE`).
    #[error(
        "the argument of the function needs a file of {wanted} bytes, and the limit is {limit} (RLIMIT_FSIZE)"
    )]
    FileSizeLimit {
        /// Bytes of the file.
        wanted: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The argument of the function has more descriptors than [`CALL_DESCRIPTORS_MAX`](super::CALL_DESCRIPTORS_MAX).
    #[error("the argument of the function has too many descriptors")]
    TooManyDescriptors,
    /// The socket has no room for now. The socket of a new process has room: its order and a call, in a file if that is
    /// long, fit into the smallest buffer of the kernel.
    #[error("the socket to the other process has no room")]
    Busy,
    /// The fork server was killed.
    #[error("the fork server ended before it had started the process")]
    ServerLost,
    /// The fork server was executed, but did not begin to serve.
    #[error("the fork server did not run: {0}")]
    ServerRefused(#[source] Refusal),
    /// The fork server is stopped, or makes no progress.
    #[error("the fork server, process {pid}, does not answer")]
    ServerSilent {
        /// The server's process id.
        pid: u32,
    },
    /// The fork server has other threads: a constructor starts them before `main`.
    #[error("the fork server has {threads} other thread(s), started before `main`")]
    ServerThreads {
        /// Threads besides the server's own.
        threads: u32,
    },
    /// The process was killed before it began.
    #[error("the process ended before it began: {0:?}")]
    Killed(Ended),
    /// This C library does not pass the arguments of the program to constructors.
    #[error("starting a process again needs glibc")]
    Unsupported,
    /// The kernel returned another error.
    #[error("the kernel refused to start a process: {0}")]
    System(#[source] OsError),
}

impl StartError {
    pub(crate) fn from_os(error: OsError) -> Self {
        Errno::from_raw_os_error(error.raw_os_error()).into()
    }
}

impl From<OsError> for StartError {
    fn from(error: OsError) -> Self {
        Self::from_os(error)
    }
}

impl From<Errno> for StartError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::AGAIN => Self::OutOfProcesses,
            Errno::NOMEM => Self::OutOfMemory,
            Errno::MFILE | Errno::NFILE | Errno::TOOMANYREFS => Self::OutOfDescriptors,
            Errno::ACCESS | Errno::PERM | Errno::NOENT | Errno::NOTDIR | Errno::NOEXEC => {
                Self::NotExecutable(errno.into())
            }
            other => Self::System(other.into()),
        }
    }
}

/// A process that will be started to run one function of this program.
///
/// ```
/// use mp_sys::reexec::{Command, Handed};
///
/// fn seven(_: Handed) -> i32 {
///     7
/// }
///
/// let (child, _endpoint) = Command::new(seven)?.label("seven").start()?;
/// let ended = child.wait(mp_sys::deadline::Deadline::NEVER)?;
/// assert_eq!(ended, Some(mp_sys::child::Ended::Exited(7)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Command {
    pub(super) order: Order,
    label: String,
    silent: bool,
    mute: bool,
}

impl Command {
    /// Prepares a process that runs `entry`, which may be an instance of a generic function.
    ///
    /// # Errors
    /// [`StartError::NotInProgram`], `NotExecutable`, `Privileged`, `Unsupported`; `System` if the program cannot be
    /// examined.
    pub fn new(entry: Entry) -> Result<Self, StartError> {
        Self::at((entry as *const ()).expose_provenance())
    }

    pub(super) fn at(entry: usize) -> Result<Self, StartError> {
        if !cfg!(target_env = "gnu") {
            return Err(StartError::Unsupported);
        }
        if takeover::is_privileged() {
            return Err(StartError::Privileged);
        }
        let image = Image::of_main_program().map_err(StartError::System)?;
        let (Some(entry), Some(anchor)) = (image.offset_of(entry), image.offset_of(takeover::anchor()))
        else {
            return Err(StartError::NotInProgram);
        };
        if !image.is_what_was_executed() {
            return Err(Errno::NOEXEC.into());
        }
        let order = Order { id: image.id().clone(), entry, anchor, title: String::new() };
        Ok(Self { order, label: "child".to_owned(), silent: false, mute: false })
    }

    /// Sets the label of the process, which is `child` by default: `ps` shows `PROGRAM: mp LABEL`.
    #[must_use]
    pub fn label(mut self, label: &str) -> Self {
        label.clone_into(&mut self.label);
        self
    }

    /// Makes /dev/null the stdout of the process, for servers.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// Makes /dev/null the stdout and the stderr of the process, for servers that outlive the program: whoever waits for the end
    /// of its output would wait for the server otherwise.
    #[must_use]
    pub fn mute(mut self) -> Self {
        (self.silent, self.mute) = (true, true);
        self
    }

    /// Starts the process. The function receives the other end of the returned endpoint.
    ///
    /// The parent may have threads, and hold locks: the child has none of them.
    ///
    /// # Errors
    /// [`StartError`]; there is no process.
    pub fn start(self) -> Result<(ChildProcess, Endpoint), StartError> {
        self.start_after(|_| Ok(()))
    }

    /// Starts the process as [`start`](Self::start) does, after `first` has put into the socket what the child must
    /// find there.
    pub(super) fn start_after(
        mut self,
        first: impl FnOnce(&Endpoint) -> Result<(), StartError>,
    ) -> Result<(ChildProcess, Endpoint), StartError> {
        if self.label.len() > LABEL_BYTES_MAX || self.label.contains('\0') {
            return Err(StartError::Label);
        }
        reap_abandoned();
        let (argument, title) = names(&own_name(), &self.label);
        self.order.title = title;
        let (own, other) = packet_socketpair()?;
        let endpoint = Endpoint::of(own).map_err(|_| StartError::from(Errno::NOTSOCK))?;
        crash::point();
        send_order(&endpoint, &self.order)?;
        crash::point();
        first(&endpoint)?;
        crash::point();
        let child = self.execute(&argument, other)?;
        crash::point();
        // std's handle would only hold the number, and does nothing when it is dropped.
        Ok((adopt(child)?, endpoint))
    }

    /// Lets std execute the program by posix_spawn(3), so that no code of this crate runs between fork and exec. Closes
    /// two descriptors before the child's handle needs one.
    fn execute(&self, argument: &str, socket: OwnedFd) -> Result<i32, StartError> {
        let mut command = std::process::Command::new(OWN_PROGRAM);
        command.arg0(argument).args(std::env::args_os().skip(1)).stdin(Stdio::from(socket));
        if self.silent {
            // A null device that std opens might be at 0, where the child's socket goes first.
            let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
            if self.mute {
                command.stderr(Stdio::from(duplicate(&null)?));
            }
            command.stdout(Stdio::from(null));
        }
        crash::hand_on(&mut command);
        let child = command
            .spawn()
            .map_err(|error| error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))?;
        i32::try_from(child.id()).map_err(|_| Errno::SRCH.into())
    }
}

/// Sends the order, so that it is in the socket before there is a child.
fn send_order(endpoint: &Endpoint, order: &Order) -> Result<(), StartError> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let head = Head { word: 0, long: 0 };
    endpoint.send(head, &mut order.to_packet(), &[], &[own.as_fd()], Patience::None).map_err(|failure| {
        match failure {
            SendFailure::DescriptorsInFlight => StartError::OutOfDescriptors,
            SendFailure::System(error) => StartError::System(error),
            // A fresh socket accepts a short packet.
            _ => StartError::System(Errno::IO.into()),
        }
    })
}

/// The name of the program's file, for display.
fn own_name() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // The kernel appends this to the name of a removed file.
    name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned()
}

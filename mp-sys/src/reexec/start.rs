//! The parent's side: a function becomes a process.

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
use crate::descriptors::{open, packet_socketpair, pidfd_open};
use crate::robust::Patience;
use crate::socket::{Endpoint, Head, SendFailure};

/// What is executed: the file that runs, even if it was removed or replaced.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Why there is no child. Nothing has happened then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The function, or this crate, lies in a shared library: the program alone does not bring it back.
    #[error("a function of a shared library cannot be started: only one of the program itself")]
    NotInProgram,
    /// The label has more than [`LABEL_BYTES_MAX`] bytes, or a zero among them.
    #[error("a label has at most {LABEL_BYTES_MAX} bytes, and no zero byte")]
    Label,
    /// The program has rights that its user has not (set-user-id, capabilities of the file).
    #[error("a program with more rights than its user is not started again")]
    Privileged,
    /// The program cannot be executed again: /proc is not mounted, the system does not permit it, or the program was not
    /// executed but given to the loader as an argument.
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
    /// What the function is given has more bytes than [`CALL_BYTES_MAX`](super::CALL_BYTES_MAX).
    #[error("what the function is given has {found} bytes, the limit is {limit}")]
    TooLarge {
        /// Bytes that it has.
        found: usize,
        /// Bytes that it may have.
        limit: usize,
    },
    /// What the function is given goes in a file, and one so long is beyond the limit of this process (`RLIMIT_FSIZE`).
    #[error(
        "what the function is given needs a file of {wanted} bytes, and the limit is {limit} (RLIMIT_FSIZE)"
    )]
    FileSizeLimit {
        /// Bytes of the file.
        wanted: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// What the function is given comes with more descriptors than
    /// [`CALL_DESCRIPTORS_MAX`](super::CALL_DESCRIPTORS_MAX).
    #[error("what the function is given comes with too many descriptors")]
    TooManyDescriptors,
    /// The socket has no room for now. A new process's socket has: its order and a call, in a file if that is long, fit into
    /// the smallest buffer that the kernel gives.
    #[error("the socket to the other process has no room")]
    Busy,
    /// The fork server was killed.
    #[error("the fork server ended before it had started the process")]
    ServerLost,
    /// The fork server was executed, and did not begin to serve.
    #[error("the fork server did not run: {0}")]
    ServerRefused(#[source] Refusal),
    /// The fork server is stopped, or stands still.
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
    /// This C library does not give constructors the arguments of the program.
    #[error("starting a process again needs glibc")]
    Unsupported,
    /// The kernel refused for another reason.
    #[error("the kernel refuses to start a process: {0}")]
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

/// A process to be started, which runs one function of this program.
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
}

impl Command {
    /// Prepares a process that runs `entry`, an instance of a generic function as well.
    ///
    /// # Errors
    /// [`StartError::NotInProgram`], `NotExecutable`, `Privileged`, `Unsupported`; `System` if the program cannot be looked
    /// at.
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
        Ok(Self { order, label: "child".to_owned(), silent: false })
    }

    /// What the process is called, `child` by default: `ps` shows `PROGRAM: mp LABEL`.
    #[must_use]
    pub fn label(mut self, label: &str) -> Self {
        label.clone_into(&mut self.label);
        self
    }

    /// Gives the process /dev/null as stdout, as servers want it.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// Starts the process. The other end of the returned endpoint is the one that the function is handed.
    ///
    /// The parent may have threads, and hold locks: the child has none of them.
    ///
    /// # Errors
    /// [`StartError`]: there is no process then.
    pub fn start(self) -> Result<(ChildProcess, Endpoint), StartError> {
        self.start_after(|_| Ok(()))
    }

    /// As [`start`](Self::start), when `first` has put into the socket what the child is to find there.
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

    /// Lets std execute the program, by posix_spawn(3): no code of ours runs between fork and exec. Frees two descriptors
    /// before the child's handle needs one.
    fn execute(&self, argument: &str, socket: OwnedFd) -> Result<i32, StartError> {
        let mut command = std::process::Command::new(OWN_PROGRAM);
        command.arg0(argument).args(std::env::args_os().skip(1)).stdin(Stdio::from(socket));
        if self.silent {
            // std's own may be opened at 0, where the child's socket goes first.
            let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
            command.stdout(Stdio::from(null));
        }
        crash::hand_on(&mut command);
        let child = command
            .spawn()
            .map_err(|error| error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))?;
        i32::try_from(child.id()).map_err(|_| Errno::SRCH.into())
    }
}

/// The order is in the socket before there is a child.
fn send_order(endpoint: &Endpoint, order: &Order) -> Result<(), StartError> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let head = Head { word: 0, long: 0 };
    endpoint.send(head, &mut order.to_packet(), &[], &[own.as_fd()], Patience::None).map_err(|failure| {
        match failure {
            SendFailure::DescriptorsInFlight => StartError::OutOfDescriptors,
            SendFailure::System(error) => StartError::System(error),
            // A fresh socket with a short packet.
            _ => StartError::System(Errno::IO.into()),
        }
    })
}

/// The name of the program's file, for people to read.
fn own_name() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // What the kernel says of a removed file.
    name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned()
}

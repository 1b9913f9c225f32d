//! Why a process was not started.

use mp_sys::OsError;
use mp_sys::child::ForkError;
use mp_sys::reexec::{self, Refusal};

/// Why there is no process. Nothing has happened then, and the worker has not run anywhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The start method is fork, and that was refused.
    #[error(transparent)]
    Fork(#[from] ForkError),
    /// The worker lies in a shared library: the program alone does not bring it back. A function of the program that calls
    /// it can be started.
    #[error("the worker lies in a shared library: start a function of the program that calls it")]
    NotInProgram,
    /// The arguments have more bytes than [`ARGUMENT_BYTES_MAX`](crate::ARGUMENT_BYTES_MAX) in serialized form.
    #[error("the arguments have {bytes} bytes, the limit is {limit}: share an Array instead")]
    ArgumentsTooLarge {
        /// Bytes that they have.
        bytes: usize,
        /// Bytes that they may have.
        limit: usize,
    },
    /// Arguments of more than 200 KiB go in a file, and one so long is beyond the limit of this process (`RLIMIT_FSIZE`).
    #[error("the arguments need a file of {wanted} bytes, and the limit is {limit} (RLIMIT_FSIZE)")]
    FileSizeLimit {
        /// Bytes of the file.
        wanted: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The arguments bring more descriptors than [`ARGUMENT_DESCRIPTORS_MAX`](crate::ARGUMENT_DESCRIPTORS_MAX).
    #[error("the arguments bring more than {limit} descriptors: send some through a pipe", limit = crate::ARGUMENT_DESCRIPTORS_MAX)]
    TooManyDescriptors,
    /// The arguments' `Serialize` refused.
    #[error("the arguments could not be serialized: {0}")]
    Encode(String),
    /// The name has more than [`NAME_BYTES_MAX`](crate::NAME_BYTES_MAX) bytes, or a zero among them.
    #[error("a process's name has at most {limit} bytes, and no zero byte", limit = crate::NAME_BYTES_MAX)]
    Name,
    /// The fork server was killed, and so was the one that was started in its place.
    #[error("the fork server ended before it had started the process")]
    ServerLost,
    /// The fork server was executed, and did not begin to serve: what `/proc/self/exe` leads to is another build.
    #[error("the fork server did not run: {0}")]
    ServerRefused(#[source] Refusal),
    /// The fork server is stopped (SIGSTOP): a start waits a second for it to be continued. Or it stands still for 30 seconds,
    /// as in a debugger. SIGCONT makes it go on; if it is killed, the next start makes another.
    #[error("the fork server, process {pid}, does not answer: continue it if it is stopped, or kill it")]
    ServerSilent {
        /// The server's process id.
        pid: u32,
    },
    /// The fork server has other threads, so it cannot fork: a constructor, of the program or of a library that it is linked
    /// with, starts them before `main`. [`spawn`](crate::spawn()) starts processes all the same.
    #[error(
        "the fork server cannot fork: it has {threads} other thread(s), which a constructor started before `main`: use \
         `spawn`"
    )]
    ServerThreads {
        /// Threads besides the server's own.
        threads: u32,
    },
    /// The process was killed before it began, by whoever knows its id.
    #[error("the process was killed before it began")]
    Killed,
    /// The program has rights that its user has not (set-user-id, capabilities of the file).
    #[error("a program with more rights than its user is not started again: fork")]
    Privileged,
    /// The program cannot be executed again: /proc is not mounted, the system does not permit it, or the program was given
    /// to the loader as an argument.
    #[error("the program cannot be executed again: {0}")]
    NotExecutable(#[source] OsError),
    /// The limit of processes is reached (`RLIMIT_NPROC`, pid limit of the control group or the system).
    #[error("the limit of processes is reached")]
    OutOfProcesses,
    /// There is no memory for another process, or for its arguments.
    #[error("no memory for another process and its arguments")]
    OutOfMemory,
    /// There is no free descriptor for the child's handle, its socket or its result; or, in the fork server, for what the
    /// child is given.
    #[error(
        "no free file descriptor for the child, here or in the fork server: drop children, or raise RLIMIT_NOFILE"
    )]
    OutOfDescriptors,
    /// This C library does not give constructors the arguments of the program.
    #[error("starting a process by executing the program again needs glibc: fork")]
    Unsupported,
    /// The kernel refused for another reason.
    #[error("the kernel refuses to start a process: {0}")]
    System(#[source] OsError),
}

impl StartError {
    /// What the system said.
    pub(crate) fn of_os(error: OsError) -> Self {
        Self::of(reexec::StartError::from(error))
    }

    /// Says it in the words of this crate.
    pub(crate) fn of(error: reexec::StartError) -> Self {
        use reexec::StartError as Theirs;
        match error {
            Theirs::NotInProgram => Self::NotInProgram,
            Theirs::Label => Self::Name,
            Theirs::Privileged => Self::Privileged,
            Theirs::NotExecutable(error) => Self::NotExecutable(error),
            Theirs::OutOfProcesses => Self::OutOfProcesses,
            Theirs::OutOfMemory => Self::OutOfMemory,
            Theirs::OutOfDescriptors => Self::OutOfDescriptors,
            Theirs::TooLarge { found, limit } => Self::ArgumentsTooLarge { bytes: found, limit },
            Theirs::FileSizeLimit { wanted, limit } => Self::FileSizeLimit { wanted, limit },
            Theirs::TooManyDescriptors => Self::TooManyDescriptors,
            Theirs::ServerLost => Self::ServerLost,
            Theirs::ServerRefused(refusal) => Self::ServerRefused(refusal),
            Theirs::ServerSilent { pid } => Self::ServerSilent { pid },
            Theirs::ServerThreads { threads } => Self::ServerThreads { threads },
            Theirs::Killed(_) => Self::Killed,
            Theirs::Unsupported => Self::Unsupported,
            Theirs::System(error) => Self::System(error),
            // The enum grows with mp-sys, which is pinned to this crate's version.
            other => Self::System(std::io::Error::other(other).into()),
        }
    }
}

//! Why a process was not started.

use mp_sys::OsError;
use mp_sys::child::ForkError;
use mp_sys::reexec::{self, Refusal};

/// Why a process was not started. The worker has not run then, and nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The start method is fork, and the fork was refused.
    #[error(transparent)]
    Fork(#[from] ForkError),
    /// The worker is in a shared library, which the program alone may not load again. Start a function of the program that
    /// calls it.
    #[error("the worker is in a shared library: start a function of the program that calls it")]
    NotInProgram,
    /// The arguments have more bytes than [`ARGUMENT_BYTES_MAX`](crate::ARGUMENT_BYTES_MAX) in serialized form.
    #[error("the arguments have {bytes} bytes, the limit is {limit}: share an Array instead")]
    ArgumentsTooLarge {
        /// The size of the arguments in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Arguments of more than 200 KiB go into a file, and these need a longer file than this process may write
    /// (`RLIMIT_FSIZE`).
    #[error("the arguments need a file of {wanted} bytes, and the limit is {limit} (RLIMIT_FSIZE)")]
    FileSizeLimit {
        /// The size of the file in bytes.
        wanted: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The arguments contain more descriptors than [`ARGUMENT_DESCRIPTORS_MAX`](crate::ARGUMENT_DESCRIPTORS_MAX).
    #[error("the arguments contain more than {limit} descriptors: send some through a pipe", limit = crate::ARGUMENT_DESCRIPTORS_MAX)]
    TooManyDescriptors,
    /// The arguments' `Serialize` failed.
    #[error("the arguments could not be serialized: {0}")]
    Encode(String),
    /// The name has more than [`NAME_BYTES_MAX`](crate::NAME_BYTES_MAX) bytes, or a zero among them.
    #[error("a process's name has at most {limit} bytes, and no zero byte", limit = crate::NAME_BYTES_MAX)]
    Name,
    /// The fork server was killed, and so was the one that replaced it.
    #[error("the fork server ended before it had started the process")]
    ServerLost,
    /// The fork server was executed and did not begin to serve, because `/proc/self/exe` leads to another build.
    #[error("the fork server did not run: {0}")]
    ServerRefused(#[source] Refusal),
    /// The fork server is stopped (SIGSTOP), and was not continued within a second. Or it did not answer for 30 seconds, for
    /// example in a debugger. SIGCONT continues it. If you kill it, the next start makes a new one.
    #[error("the fork server, process {pid}, does not answer: continue it if it is stopped, or kill it")]
    ServerSilent {
        /// The server's process id.
        pid: u32,
    },
    /// The fork server has other threads, so it cannot fork. A constructor of the program, or of a library that it is linked
    /// with, starts them before `main`. Use [`spawn`](crate::spawn()) instead.
    #[error(
        "the fork server cannot fork: it has {threads} other thread(s), which a constructor started before `main`: use \
         `spawn`"
    )]
    ServerThreads {
        /// The number of threads besides the server's own.
        threads: u32,
    },
    /// Another process killed the new one before it began.
    #[error("the process was killed before it began")]
    Killed,
    /// The program has rights that its user does not have (set-user-id, capabilities of the file).
    #[error("a program with more rights than its user is not executed again: use `fork`")]
    Privileged,
    /// The program cannot be executed again: /proc is not mounted, the system does not permit it, or the program was started
    /// as an argument of the loader.
    #[error("the program cannot be executed again: {0}")]
    NotExecutable(#[source] OsError),
    /// The limit of processes is reached (`RLIMIT_NPROC`, pid limit of the control group or the system).
    #[error("the limit of processes is reached")]
    OutOfProcesses,
    /// There is no memory for another process, or for its arguments.
    #[error("no memory for another process and its arguments")]
    OutOfMemory,
    /// There is no free descriptor for the child's handle, its socket or its result, or, in the fork server, for the
    /// descriptors that the child gets.
    #[error(
        "no free file descriptor for the child, here or in the fork server: drop children, or raise RLIMIT_NOFILE"
    )]
    OutOfDescriptors,
    /// This C library does not pass the program's arguments to constructors.
    #[error("only with glibc can the program be executed again to start a process: use `fork`")]
    Unsupported,
    /// The kernel refused for another reason.
    #[error("the kernel refuses to start a process: {0}")]
    System(#[source] OsError),
}

impl StartError {
    /// Makes the error for an error of the system.
    pub(crate) fn of_os(error: OsError) -> Self {
        Self::of(reexec::StartError::from(error))
    }

    /// Converts the error of `mp-sys`.
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

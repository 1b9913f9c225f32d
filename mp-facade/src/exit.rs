//! Why a child has no value.

#[cfg(feature = "tokio")]
use mp_sys::asynchronous::RuntimeError;
use mp_sys::child::ChildError;
use mp_sys::reexec::Refusal;

/// Why [`Child::join`](crate::Child::join) has no value.
#[doc(alias = "exitcode")]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExitError {
    /// The closure panicked, with this message (at most
    /// [`PANIC_MESSAGE_BYTES_MAX`](crate::PANIC_MESSAGE_BYTES_MAX) bytes of it). With `panic = "abort"` a panic is
    /// [`Signaled`](Self::Signaled) by SIGABRT instead.
    #[error("the child panicked: {0}")]
    Panicked(String),
    /// A signal ended the child.
    #[error("the child was ended by signal {0}{name}", name = signal_name(*.0))]
    Signaled(i32),
    /// The child ended by itself with this code, and left no value. Either it called `std::process::exit` before its closure
    /// or worker returned; or its value could not be written, since the child had closed the library's descriptors, or
    /// lowered `RLIMIT_FSIZE` so far that not even the reason has room.
    #[error(
        "the child ended with exit code {0} and left no value: it called `exit`, or the value could not be written"
    )]
    Exited(i32),
    /// The child was executed, but did not run its worker.
    #[error("the child did not run its worker: {0}")]
    NotRun(#[source] Refusal),
    /// The arguments' `Deserialize` failed in the child, or a shared object among them could not be opened there. The worker
    /// did not run.
    #[error("the arguments could not be deserialized in the child: {0}")]
    Arguments(String),
    /// Something else reaped the child: SIGCHLD is ignored, or another part of the program waits for any child.
    #[error("another part of the program took the child's exit status (is SIGCHLD ignored?)")]
    StatusLost,
    /// The value is larger than [`RESULT_BYTES_MAX`](crate::RESULT_BYTES_MAX) in serialized form.
    #[error("the child's value has {bytes} bytes, the limit is {limit}: share an Array instead")]
    ResultTooLarge {
        /// The size of the value in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// There was no memory for the value, or it is longer than the child's files may be (`RLIMIT_FSIZE`).
    #[error("no space for the child's value of {bytes} bytes, in memory or under RLIMIT_FSIZE")]
    NoSpaceForResult {
        /// The size of the value in bytes.
        bytes: usize,
    },
    /// The value's `Serialize` failed.
    #[error("the child's value could not be serialized: {0}")]
    Encode(String),
    /// The value's `Deserialize` failed. Types that need a self-describing format cannot travel.
    #[error("the child's value could not be deserialized: {0}")]
    Decode(String),
    /// The handle cannot wait for the child.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// The task cannot wait ([`join_async`](crate::Child::join_async) and [`wait_async`](crate::Child::wait_async) only).
    #[cfg(feature = "tokio")]
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// Returns the name of a signal for the message, for the signals that end processes in practice.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        14 => " (SIGALRM)",
        15 => " (SIGTERM)",
        24 => " (SIGXCPU)",
        25 => " (SIGXFSZ)",
        31 => " (SIGSYS)",
        _ => "",
    }
}

//! Why a command failed, as one line and as an exit code.
//!
//! | code | meaning | [`Failure`] |
//! |---|---|---|
//! | 0 | done | |
//! | 1 | the operation failed or was refused, and changed nothing | [`Failed`](Failure::Failed) |
//! | 2 | the arguments are wrong | [`Usage`](Failure::Usage) |
//! | 3 | a server cannot listen | [`Unreachable`](Failure::Unreachable) |

/// The exit code for wrong arguments, the same as clap's.
pub(crate) const USAGE: u8 = 2;

/// Why a command failed. Each has a message of one line, which names the address or the file.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The operation failed or was refused.
    Failed(String),
    /// The arguments are wrong, in a way that only the server or a file could show.
    Usage(String),
    /// A server cannot listen.
    Unreachable(String),
    /// Nobody reads the output any more. That is no error.
    NobodyReads,
}

impl Failure {
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::NobodyReads => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => USAGE,
            Self::Unreachable(_) => 3,
        }
    }

    /// Returns what to print, if anything.
    pub(crate) fn message(&self) -> Option<&str> {
        match self {
            Self::NobodyReads => None,
            Self::Failed(text) | Self::Usage(text) | Self::Unreachable(text) => Some(text),
        }
    }
}

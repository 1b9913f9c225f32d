//! Why a command failed, as one line and as an exit code.
//!
//! | code | meaning | [`Failure`] |
//! |---|---|---|
//! | 0 | done | |
//! | 1 | the operation failed or was refused, and changed nothing | [`Failed`](Failure::Failed) |
//! | 2 | the arguments are wrong | [`Usage`](Failure::Usage) |
//! | 3 | the manager cannot be reached, or a server cannot listen | [`Unreachable`](Failure::Unreachable) |
//! | 4 | there is no such object, key, index or attribute | [`Absent`](Failure::Absent) |
//! | 5 | the connection ended during the operation, which may or may not have happened | [`Unknown`](Failure::Unknown) |

use manager_rt::{CallError, Fault};

/// The exit code for wrong arguments, the same as clap's.
pub(crate) const USAGE: u8 = 2;

/// Why a command failed. Each has a message of one line, which names the address or the file.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The operation failed or was refused.
    Failed(String),
    /// The arguments are wrong, in a way that only the server or a file could show.
    Usage(String),
    /// The manager cannot be reached, or a server cannot listen.
    Unreachable(String),
    /// There is no such object, key, index or attribute.
    Absent(String),
    /// The connection ended during the operation.
    Unknown(String),
    /// Nobody reads the output any more. That is no error.
    NobodyReads,
    /// A signal ended the server before it served. That is no error.
    Ended,
}

impl Failure {
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::NobodyReads | Self::Ended => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => USAGE,
            Self::Unreachable(_) => 3,
            Self::Absent(_) => 4,
            Self::Unknown(_) => 5,
        }
    }

    /// Returns what to print, if anything.
    pub(crate) fn message(&self) -> Option<&str> {
        match self {
            Self::NobodyReads | Self::Ended => None,
            Self::Failed(text)
            | Self::Usage(text)
            | Self::Unreachable(text)
            | Self::Absent(text)
            | Self::Unknown(text) => Some(text),
        }
    }

    /// Converts the error of a call. `what` names the object and the address.
    pub(crate) fn of_call(what: &str, error: &CallError) -> Self {
        let text = format!("{what}: {error}");
        match error {
            CallError::Fault(
                Fault::UnknownName | Fault::UnknownObject | Fault::NotFound | Fault::Index { .. },
            ) => Self::Absent(text),
            CallError::OutcomeUnknown => Self::Unknown(text),
            CallError::ServerGone | CallError::Restarted | CallError::Unauthorised => Self::Unreachable(text),
            _ => Self::Failed(text),
        }
    }
}

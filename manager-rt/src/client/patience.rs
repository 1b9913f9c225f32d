//! How long a call may take, and what it means if no answer comes in that time.
//!
//! The server ends waits itself, so the client only waits a little longer than the timeout. If no answer comes by then,
//! the server is stopped or overloaded, and the client gives the call up. What that means depends on the operation:
//!
//! - A call that only takes or watches something has *timed out*: the server takes back what it grants to a call that
//!   was given up, so a late answer has no effect. Such a call waits for [`TAKE_GRACE`].
//! - Any other call may have changed something, so its outcome is *unknown*. It waits for [`ANSWER_GRACE`], since not
//!   knowing is worse than waiting.
//! - A wait for a notification ends with the lock, however long that takes, because the caller had the lock before. So
//!   it goes on for as long as the server lives: after the timeout and [`ANSWER_GRACE`], the client asks the server for a
//!   sign of life, and gives up if none comes within two seconds.
//!
//! A call that does not wait has [`ANSWER_PATIENCE`] for its answer. A call that waits for ever ends only with the
//! connection.

use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::handshake::Agreed;

use super::answer::{Undo, Unreadable};
use super::connection::Failure;
use crate::backend::CallError;
use crate::proto::version::NEWEST;
use crate::proto::{Call, ConditionOp, EventOp, Fault, JoinableQueueOp, Op, Raw, Wait};

/// How much longer than its timeout a call that may change something waits for the server's answer.
pub(super) const ANSWER_GRACE: Duration = Duration::from_millis(500);
/// How much longer than its timeout a call that only takes something waits for the server's answer.
pub(super) const TAKE_GRACE: Duration = Duration::from_millis(100);
/// How long a call that does not wait may take to be answered, which takes microseconds.
pub(crate) const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// What it means that a call got no answer in its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Late {
    TimedOut,
    Unknown,
}

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    wait: Wait,
    /// When the server ends the wait.
    ends: Deadline,
    grace: Duration,
    late: Late,
    /// Whether the call goes on after its timeout, for as long as the server lives.
    pub(super) outlasts: bool,
}

impl Patience {
    /// The patience with calls that do not wait.
    pub(super) fn at_once() -> Self {
        let ends = Deadline::after(Duration::ZERO);
        Self { wait: Wait::No, ends, grace: ANSWER_PATIENCE, late: Late::Unknown, outlasts: false }
    }

    pub(super) fn of(call: &Call<Raw<'_>>) -> Self {
        let ends = match call.wait {
            Wait::No => return Self::at_once(),
            Wait::For(nanos) => Deadline::after(Duration::from_nanos(nanos)),
            Wait::Forever => Deadline::NEVER,
        };
        let (grace, late) = match only_takes(call) {
            true => (TAKE_GRACE, Late::TimedOut),
            false => (ANSWER_GRACE, Late::Unknown),
        };
        let outlasts = matches!(call.op, Op::Condition(ConditionOp::Wait { .. }));
        Self { wait: call.wait, ends, grace, late, outlasts }
    }

    /// Returns how long the server is to wait: what is left of the timeout, since connecting may have taken time.
    pub(super) fn wait(self) -> Wait {
        match self.wait {
            Wait::For(_) => Wait::For(u64::try_from(self.ends.remaining().as_nanos()).unwrap_or(u64::MAX)),
            wait => wait,
        }
    }

    /// Returns until when the answer to a call that is sent now has to come.
    pub(super) fn answer_by(self) -> Deadline {
        if self.ends.is_never() {
            return Deadline::NEVER;
        }
        Deadline::after(self.ends.remaining().saturating_add(self.grace))
    }

    /// Returns until when there has to be a connection.
    pub(super) fn connect_by(self) -> Deadline {
        if self.ends.is_never() {
            return Deadline::NEVER;
        }
        Deadline::after(self.ends.remaining().saturating_add(self.grace.max(ANSWER_GRACE)))
    }

    /// Returns the error of a call without an answer.
    pub(super) fn error(self, failure: Failure, Agreed { version, theirs }: Agreed) -> CallError {
        match failure {
            Failure::NotBegun if matches!(self.wait, Wait::For(_)) => CallError::Fault(Fault::TimedOut),
            Failure::Late if self.late == Late::TimedOut => CallError::Fault(Fault::TimedOut),
            Failure::NotSent | Failure::NotBegun => CallError::ServerGone,
            Failure::Unknown | Failure::Late => CallError::OutcomeUnknown,
            Failure::Unreadable(Unreadable::Malformed) => CallError::Protocol,
            Failure::Unreadable(Unreadable::Unknown { table, number }) => {
                CallError::UnknownAnswer { table, number, ours: NEWEST, theirs: theirs.newest }
            }
            Failure::NeedsVersion(needs) => CallError::NeedsVersion { needs, agreed: version },
            Failure::Refused(fault) => CallError::Fault(fault),
        }
    }
}

/// Returns `true` if a call changes nothing but what it takes, which the server takes back from a call that was given up.
/// What can be taken back is known in one place only: a new operation that takes something is in both or in none.
fn only_takes(call: &Call<Raw<'_>>) -> bool {
    match Undo::of(call.object, &call.op) {
        Undo::Lock(_) | Undo::Permit | Undo::Task(_) | Undo::Items => true,
        // After a wait for a notification, the caller has its own lock again.
        Undo::LockAgain { .. } | Undo::Action(_) | Undo::Reference(_) => false,
        // These only watch.
        Undo::Nothing => {
            matches!(call.op, Op::Event(EventOp::Wait) | Op::JoinableQueue(JoinableQueueOp::Join))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{ManagerOp, ObjectId};

    #[test]
    fn a_call_with_a_time_waits_that_long_for_its_answer_however_long_calls_without_one_wait() {
        let call = |wait| {
            let op = Op::Manager(ManagerOp::<Raw<'_>>::Shutdown);
            Patience::of(&Call { object: ObjectId::MANAGER, thread: 1, wait, op }).answer_by().remaining()
        };
        // How long this test may be interrupted between two lines.
        let slack = Duration::from_secs(600);
        let hour = Duration::from_secs(3_600);
        assert!(call(Wait::No) <= ANSWER_PATIENCE);
        assert!(call(Wait::For(u64::try_from(hour.as_nanos()).unwrap())) > hour - slack);
    }
}

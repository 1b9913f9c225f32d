//! The life of a child, whatever its start method: what it runs, and what it leaves.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mp_sys::child::PANIC_EXIT_CODE;
use mp_sys::crash;

use crate::outcome::Outcome;
use crate::process::{Birth, Tie};
use crate::{current, running};

/// Records a forked process's identity. Returns `false` if it should die with its parent, and the parent has already ended.
#[inline]
pub(crate) fn enter_forked(birth: &mut Birth) -> bool {
    let Birth { about, tie, parent_pid } = birth;
    if let Some(Tie { line, lives }) = tie.take()
        && !line.hold(lives.then_some(*parent_pid)).unwrap_or(false)
    {
        return false;
    }
    crash::point();
    current::enter(*parent_pid, about.name.as_deref(), about.daemon, None);
    crash::point();
    true
}

/// Runs `body`, which leaves the result and returns the exit code. If it panics, its message is left instead.
#[inline]
pub(crate) fn run(outcome: &Outcome, body: impl FnOnce() -> i32) -> i32 {
    let code = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(code) => code,
        // A payload that panics when it is dropped here still ends the process with the same code.
        Err(payload) => {
            outcome.leave_panic(message_of(&*payload));
            PANIC_EXIT_CODE
        }
    };
    crash::point();
    // The work that `exit` does for a main process.
    running::finish();
    crash::point();
    code
}

/// Returns the message of a panic.
pub(crate) fn message_of(payload: &(dyn Any + Send)) -> &str {
    if let Some(message) = payload.downcast_ref::<&str>() {
        return message;
    }
    payload.downcast_ref::<String>().map_or("(a panic without a message)", String::as_str)
}

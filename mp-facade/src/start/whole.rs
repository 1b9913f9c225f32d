//! The whole life of a child, however it began: what it runs, and what it leaves.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mp_sys::child::PANIC_EXIT_CODE;

use crate::outcome::Outcome;

/// Runs `body`, which leaves the result and gives the exit code; what it panics with is left instead.
pub(super) fn run(outcome: &Outcome, body: impl FnOnce() -> i32) -> i32 {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(code) => code,
        // A payload that panics when it is dropped here ends the process all the same, with the same code.
        Err(payload) => {
            outcome.leave_panic(message_of(&*payload));
            PANIC_EXIT_CODE
        }
    }
}

fn message_of(payload: &(dyn Any + Send)) -> &str {
    if let Some(message) = payload.downcast_ref::<&str>() {
        return message;
    }
    payload.downcast_ref::<String>().map_or("(a panic without a message)", String::as_str)
}

//! Death in a model: the thread that stands for a process stops.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

loom::thread_local! {
    /// Points left until the thread dies; 0 means disarmed.
    static LEFT: Cell<u64> = Cell::new(0);
}

/// What unwinds the thread. Protocols have no destructors that store anything, so nothing happens after it.
struct Died;

/// Ends the thread here if the model armed this point.
pub fn point() {
    let left = LEFT.with(|left| left.replace(left.get().saturating_sub(1)));
    if left == 1 {
        resume_unwind(Box::new(Died));
    }
}

/// Runs `process`, which dies at the `n`-th point; returns `None` if it died.
pub fn until<R>(n: u64, process: impl FnOnce() -> R) -> Option<R> {
    LEFT.with(|left| left.set(n));
    let outcome = catch_unwind(AssertUnwindSafe(process));
    LEFT.with(|left| left.set(0));
    match outcome {
        Ok(survived) => Some(survived),
        Err(died) if died.is::<Died>() => None,
        Err(failed) => resume_unwind(failed),
    }
}

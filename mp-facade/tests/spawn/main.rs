//! `mp::spawn` under the ordinary test harness, beside its threads.
#![expect(clippy::unwrap_used, clippy::panic_in_result_fn, reason = "a test fails by a panic")]

mod travel;
mod workers;

//! Tests of public behaviour within one process.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(clippy::print_stdout, reason = "a test prints its seed")]

mod bad_input;
mod borrowed;
mod errors;
mod forward;
mod fuzz;
mod limits;
mod listeners;
mod model;
mod pipes;
mod travel;
mod waits;
mod words;

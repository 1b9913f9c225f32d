//! Public behaviour within one process.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bad_input;
mod errors;
mod limits;
mod model;
mod pipes;
mod travel;
mod waits;

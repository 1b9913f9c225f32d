//! The public behaviour of the objects of a manager that lives in the same process.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod conformance;
mod private_names;

//! The public behaviour of the shared-memory objects inside one process: results, errors, limits.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(clippy::mem_forget, reason = "a forgotten guard is one of the cases")]

mod array;
mod elements;
mod lock;
mod raw;
mod value;

//! The public behaviour of the shared-memory objects inside one process: results, errors, limits.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod array;
mod collisions;
mod elements;
mod lock;
mod raw;
mod rwlock;
mod shared_memory;
mod sync;
mod travel;
mod value;

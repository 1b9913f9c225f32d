#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod child;
mod exit;
mod outcome;
mod start;

pub use child::Child;
pub use exit::ExitError;
pub use mp_sys::OsError;
pub use mp_sys::child::{ChildError, ForkAnyway, ForkError};
pub use outcome::{PANIC_MESSAGE_BYTES_MAX, RESULT_BYTES_MAX};
pub use start::fork::{fork, fork_anyway};

#[cfg(feature = "shm")]
pub use shm_core::{
    Array, ArrayError, ArrayGuard, Element, Lock, LockError, LockGuard, LockResult, MemoryError, NameError,
    Number, RangeError, RawArray, RawValue, Value, ValueGuard, memory_limit, memory_mapped, named,
    release_unused_memory, set_memory_limit,
};

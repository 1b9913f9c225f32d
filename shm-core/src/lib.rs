#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod arena;
#[doc(hidden)]
pub mod array;
#[cfg(feature = "tokio")]
mod asynchronous;
pub mod element;
#[doc(hidden)]
pub mod error;
mod kind;
pub mod named;
mod protected;
#[doc(hidden)]
pub mod raw_array;
#[doc(hidden)]
pub mod raw_value;
#[doc(hidden)]
pub mod shared_memory;
pub mod sync;
mod travel;
#[doc(hidden)]
pub mod value;

pub use arena::release_unused_memory;
pub use array::{Array, ArrayGuard};
#[doc(inline)]
pub use element::{Element, Number};
#[cfg(feature = "tokio")]
pub use error::RuntimeError;
pub use error::{
    ArrayError, BarrierError, LockError, LockResult, MemoryError, OsError, RangeError, SemaphoreError,
    WaitError,
};
pub use mp_sys::budget::{limit as memory_limit, mapped as memory_mapped, set_limit as set_memory_limit};
#[doc(inline)]
pub use named::NameError;
pub use raw_array::RawArray;
pub use raw_value::RawValue;
pub use shared_memory::SharedMemory;
#[doc(inline)]
pub use sync::{
    Barrier, BoundedSemaphore, Condition, Event, Lock, LockGuard, Party, Permit, RLock, RLockGuard, RwLock,
    RwLockReadGuard, RwLockWriteGuard, Semaphore,
};
pub use value::{Value, ValueGuard};

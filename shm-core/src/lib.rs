#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod arena;
pub mod array;
pub mod element;
pub mod error;
mod kind;
pub mod named;
mod protected;
pub mod raw_array;
pub mod raw_value;
pub mod shared_memory;
pub mod sync;
mod travel;
pub mod value;

pub use arena::release_unused_memory;
pub use array::{Array, ArrayGuard};
pub use element::{Element, Number};
pub use error::{
    ArrayError, BarrierError, LockError, LockResult, MemoryError, OsError, RangeError, SemaphoreError,
    WaitError,
};
pub use mp_sys::budget::{limit as memory_limit, mapped as memory_mapped, set_limit as set_memory_limit};
pub use named::NameError;
pub use raw_array::RawArray;
pub use raw_value::RawValue;
pub use shared_memory::SharedMemory;
pub use sync::{
    Barrier, BoundedSemaphore, Condition, Event, Lock, LockGuard, Party, Permit, RLock, RLockGuard, RwLock,
    RwLockReadGuard, RwLockWriteGuard, Semaphore,
};
pub use value::{Value, ValueGuard};

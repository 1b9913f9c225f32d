#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod connection;
mod descriptor;
pub mod error;
mod halves;
pub mod limits;
mod message;
pub mod pipe;
mod queue;
mod wait;

pub use connection::{Connection, duplex};
pub use descriptor::Descriptor;
pub use error::{MemoryError, NoPipe, OsError, RecvError, SendError};
pub use pipe::{Receiver, Sender, pipe};
pub use queue::{
    Batch, CreateError, FailedTask, GetError, Iter, JoinableQueue, LockRefused, MAX_DELIVERIES_DEFAULT,
    PutError, PutManyError, Queue, SimpleQueue, Task,
};
pub use wait::wait;

#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

#[doc(hidden)]
pub mod address;
#[doc(hidden)]
pub mod connection;
mod descriptor;
#[doc(hidden)]
pub mod error;
mod forward;
#[doc(hidden)]
pub mod fuzzing;
mod halves;
pub mod limits;
#[doc(hidden)]
pub mod listener;
mod message;
#[doc(hidden)]
pub mod pipe;
mod queue;
mod wait;

pub use address::Address;
pub use connection::{Connection, duplex};
pub use descriptor::Descriptor;
#[cfg(feature = "tokio")]
pub use error::RuntimeError;
pub use error::{AcceptError, ConnectError, ListenError, MemoryError, NoPipe, OsError, RecvError, SendError};
pub use forward::Message;
pub use listener::{Listener, connect, connect_timeout};
pub use mp_sys::alike::{SameBytes, Wire};
pub use mp_sys::key::Key;
pub use mp_sys::wire::Versioned;
pub use pipe::{Receiver, Sender, pipe};
pub use queue::{
    Batch, CreateError, FailedTask, GetError, Iter, JoinableQueue, LockRefused, MAX_DELIVERIES_DEFAULT,
    NoDeliveries, PutError, PutManyError, Queue, SimpleQueue, Task,
};
pub use wait::{Source, wait};

//! [`Queue`]: first in, first out, between any number of processes.
//!
//! Items lie in shared memory. An item stays there as long as any process holds the queue, even if the process that put it
//! has ended. There is no feeder thread, and nothing to flush.
//!
//! | module | content |
//! |---|---|
//! | [`layout`] | offsets of everything in the region |
//! | [`ring`], [`segment`] | records, and the memory that they lie in |
//! | [`producer`], [`consumer`] | writing and taking records, each under its lock |
//! | [`doorbell`] | waking of waiting processes |
//! | [`core`] | a queue of bytes: rings, waits, and the descriptor to poll |
//! | [`flag`] | that descriptor |
//! | [`item`], [`put`], [`batch`] | conversion between typed items and bytes |
//! | [`travel`] | queues inside messages |
//! | [`typed`] | [`Queue`] |
//! | `asynchronous` | waiting in tasks of a tokio runtime (feature `tokio`) |

#[cfg(feature = "tokio")]
mod asynchronous;
mod batch;
mod bytes;
mod config;
mod consumer;
mod core;
mod doorbell;
mod error;
mod flag;
pub(crate) mod fuzz;
mod handle;
mod item;
mod iter;
mod joinable;
mod layout;
mod leases;
mod lull;
mod producer;
mod put;
mod refused;
mod ring;
mod segment;
mod simple;
mod travel;
mod typed;

pub use self::batch::Batch;
pub use self::error::{CreateError, GetError, LockRefused, NoDeliveries, PutError, PutManyError};
pub use self::iter::Iter;
pub use self::joinable::{FailedTask, JoinableQueue, MAX_DELIVERIES_DEFAULT, Task};
pub use self::simple::SimpleQueue;
pub use self::typed::Queue;

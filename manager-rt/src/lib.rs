#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "only a server charges"))]
mod account;
#[doc(hidden)]
pub mod address;
#[doc(hidden)]
pub mod backend;
mod batch;
mod client;
#[cfg(feature = "conformance")]
#[doc(hidden)]
pub mod conformance;
mod count;
mod engine;
#[doc(hidden)]
pub mod error;
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod fuzzing;
mod key;
pub mod limits;
mod manager;
#[cfg(feature = "server")]
mod process;
#[doc(hidden)]
pub mod proto;
mod proxy;
mod references;
mod registry;
pub mod report;
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod server;
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod state;
#[cfg(test)]
mod tests;
mod transport;
#[doc(hidden)]
pub mod wire;

pub use address::{Address, AddressError};
#[cfg(feature = "tokio")]
pub use backend::Pending;
pub use backend::{
    Backend, CallError, Caps, Change, Death, Grants, Kinds, OnLost, OpenPipeline, References, Validity,
    Warning,
};
pub use batch::{Batch, Done, On, Ticket, Tickets};
pub use client::ConnectError;
#[cfg(feature = "server")]
pub use engine::InProcess;
#[cfg(feature = "redis")]
pub use engine::Redis;
pub use error::{
    BarrierError, GetError, ItemError, LockError, LockResult, ObjectError, PutError, SemaphoreError,
    TransactionError,
};
#[cfg(all(feature = "redis", feature = "rabbitmq"))]
pub use manager::MixedBuilder;
pub use manager::{Manager, ManagerBuilder, Named, SnapshotError};
pub use mp_sys::OsError;
#[cfg(feature = "server")]
pub use mp_sys::activation::ActivationError;
pub use mp_sys::alike::{SameBytes, Wire};
#[cfg(feature = "tokio")]
pub use mp_sys::asynchronous::RuntimeError;
pub use mp_sys::handshake::Versions;
pub use mp_sys::key::Key;
pub use mp_sys::wire::Versioned;
#[cfg(feature = "server")]
pub use process::StartError;
pub use proto::{Disinherited, Fault, Info};
#[cfg(feature = "tokio")]
pub use proxy::TaskGuard;
pub use proxy::{
    Array, Barrier, BoundedSemaphore, Condition, Dict, DictIter, Event, JoinableQueue, List, ListIter, Lock,
    LockGuard, Namespace, Numeric, Party, Permit, Queue, RLock, RLockGuard, Semaphore, Storable, Task, Value,
    WaitGuard,
};
pub use registry::ReachError;
#[cfg(feature = "server")]
pub use server::{BindError, RestoreError, Server, ServerBuilder, Stopper};
#[cfg(feature = "server")]
pub use state::SnapshotFault;
pub use wire::recorded::Recorded;

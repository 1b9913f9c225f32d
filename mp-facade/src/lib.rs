#![doc = include_str!("../README.md")]
#![doc = include_str!("front/processes.md")]
#![cfg_attr(all(feature = "shm", feature = "ipc"), doc = include_str!("front/pools.md"))]
#![cfg_attr(feature = "ipc", doc = include_str!("front/groups.md"))]
#![cfg_attr(feature = "shm", doc = include_str!("front/shm.md"))]
#![cfg_attr(feature = "ipc", doc = include_str!("front/ipc.md"))]
#![cfg_attr(feature = "manager", doc = include_str!("front/manager.md"))]
#![cfg_attr(feature = "tokio", doc = include_str!("front/asynchronous.md"))]
#![forbid(unsafe_code)]

mod active;
mod child;
mod current;
mod ending;
mod exit;
#[cfg(feature = "ipc")]
mod group;
mod handle;
mod outcome;
#[cfg(all(feature = "shm", feature = "ipc"))]
mod pool;
mod process;
#[cfg(feature = "ipc")]
mod restart;
mod running;
mod scope;
mod signal;
mod start;
#[cfg(feature = "ipc")]
mod stops;

pub use active::ActiveChild;
pub use child::Child;
pub use current::{CurrentProcess, ParentProcess, current_process, parent_process, renew_die_with_parent};
pub use ending::DAEMON_ENDING_MAX;
pub use exit::ExitError;
#[cfg(feature = "ipc")]
pub use group::{
    Failure, GROUP_CRASHES_DEFAULT, GROUP_EVENTS_MAX, GROUP_GRACE_DEFAULT, GROUP_HEALTHY_DEFAULT,
    GROUP_PAUSE_MAX_DEFAULT, GROUP_PAUSE_MIN_DEFAULT, GROUP_READY_DEFAULT, GROUP_SETTLING, GROUP_WORKERS_MAX,
    Group, GroupError, GroupEvent, Keep, KindHealth, OnReturn, Place, Ready, Slot,
};
pub use mp_sys::OsError;
#[cfg(feature = "tokio")]
pub use mp_sys::asynchronous::RuntimeError;
pub use mp_sys::child::{ChildError, ForkAnyway, ForkError};
#[cfg(any(feature = "ipc", feature = "manager-client"))]
pub use mp_sys::key::Key;
#[cfg(any(feature = "shm", feature = "ipc"))]
pub use mp_sys::memory::MemoryError;
pub use mp_sys::reexec::Refusal;
pub use mp_sys::wire::Versioned;
pub use outcome::{PANIC_MESSAGE_BYTES_MAX, RESULT_BYTES_MAX};
#[cfg(all(feature = "shm", feature = "ipc"))]
pub use pool::{
    Crash, Health, Job, MapIter, POOL_AHEAD_CHUNKS, POOL_CRASHES_DEFAULT, POOL_ITEM_BYTES_MAX,
    POOL_TRIES_DEFAULT, POOL_WORKERS_MAX, Pool, PoolBuilder, PoolError, TaskError, Unordered, map,
};
pub use process::{Method, Process};
pub use running::active_children;
pub use scope::{Scope, scope};
pub use start::NAME_BYTES_MAX;
pub use start::arguments::Arguments;
pub use start::error::StartError;
pub use start::fork::{fork, fork_anyway};
pub use start::fork_with::fork_with;
pub use start::return_value::ReturnValue;
pub use start::spawn::{ARGUMENT_BYTES_MAX, ARGUMENT_DESCRIPTORS_MAX, spawn};

#[cfg(feature = "ipc")]
pub use kernel_ipc::{
    AcceptError, Address, Batch, ConnectError, Connection, CreateError, Descriptor, FailedTask, GetError,
    Iter as QueueIter, JoinableQueue, ListenError, Listener, LockRefused, MAX_DELIVERIES_DEFAULT, Message,
    NoDeliveries, NoPipe, PutError, PutManyError, Queue, Receiver, RecvError, SameBytes, SendError, Sender,
    SimpleQueue, Source, Task, Wire, connect, connect_timeout, duplex, limits, pipe, wait,
};
#[cfg(feature = "shm")]
pub use shm_core::{
    Array, ArrayError, ArrayGuard, Barrier, BarrierError, BoundedSemaphore, Condition, Element, Event, Lock,
    LockError, LockGuard, LockResult, NameError, Number, Party, Permit, RLock, RLockGuard, RangeError,
    RawArray, RawValue, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore, SemaphoreError, SharedMemory,
    Value, ValueGuard, WaitError, memory_limit, memory_mapped, named, set_memory_limit, sync,
};

/// Containers, queues and locks in a server process, used by any number of processes through proxies.
#[cfg(feature = "manager-client")]
pub mod manager {
    pub use manager_rt::*;
}

/// Frees the memory and descriptors that this process keeps for later, as `malloc_trim(3)` does for private memory.
///
/// By default, the library keeps a chunk of 1 MiB for the next small objects, free slots between objects in use, one memory
/// file for the values of children, one descriptor for children that die with this process, and the fork server.
pub fn release_unused_memory() {
    running::reap_abandoned();
    running::release_server();
    // This includes a fork server that was killed.
    mp_sys::child::reap_abandoned();
    mp_sys::child::release_lifelines();
    outcome::release_unused();
    #[cfg(feature = "shm")]
    shm_core::release_unused_memory();
}

//! The operating-system floor of the `mp` crates: the only library crate that may contain `unsafe`.
//!
//! `shm-core`, `kernel-ipc`, `manager-rt` and `mp-facade` are `#![forbid(unsafe_code)]`. What they need from the
//! kernel, from pthreads or from raw memory is here, behind functions that check their arguments. Those crates pin this
//! one with `=`, and it promises no stability: use the crates above it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`identity`], [`dead`] | which process this is, whether another one is still alive, and which waiter checks that |
//! | [`fork`] | how a process finds out that it was forked; state that starts afresh in a child |
//! | [`child`] | `fork` as a safe function, and the handle to wait for and signal a child |
//! | [`word`] | the words that protocols consist of: real ones, and those of models |
//! | [`forkserver`] | a process that forks children for this one |
//! | [`reexec`] | a new process that runs a function of the same program |
//! | [`deadline`], [`futex`], [`ready`], [`adaptive`] | waiting: until when, on what, and whether to spin or sleep |
//! | [`budget`], [`memory`], [`span`] | how much memory may be reserved; mappings, and the pieces that they hand out |
//! | [`named`] | segments with a name, for programs that are not each other's children |
//! | [`robust`], [`locked`], [`reentrant`] | the lock that survives the death of its owner, and data that only its holder can reach |
//! | [`region`] | memory that grows inside one mapping, read and written by checked offsets |
//! | [`cells`] | data that several processes use without a lock, without ever tearing an element |
//! | [`socket`] | packets between processes, which can carry descriptors |
//! | [`stream`] | one end of a connected stream, which no forked child keeps |
//! | [`descriptors`] | the ways to make a descriptor, none of which returns 0, 1 or 2 |
//! | [`travel`], [`payload`] | what a message carries besides its bytes, and bytes that do not fit into a packet |
//! | [`alike`] | which types have the same encoding |
//! | [`handoff`] | an end that is handed over through a stream between two unrelated processes |
//! | `handshake`, `key` | how two unrelated processes prove to each other that they have the same key, and the key (feature `handshake`) |
//! | `asynchronous` | waiting in tasks of a tokio runtime (feature `tokio`) |
//! | [`signals`] | how a server process handles SIGTERM, SIGINT and the like |
//! | `wire` | why a value does not travel, in words (feature `wire`) |
//! | [`crash`] | counted points where a test kills the process (feature `crash-points`) |
//! | `testing` | the runner for tests that fork, and leak counts (feature `testing`) |
//!
//! `docs/SAFETY.md` in the repository contains the argument for every module with `unsafe`.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(target_os = "linux"))]
compile_error!("mp-sys runs only on Linux for now; other systems will follow behind the same functions");
// Another C library stores a mutex's owner elsewhere, and that word decides whether a lock may be unmapped.
#[cfg(all(target_os = "linux", not(target_env = "gnu")))]
compile_error!("mp-sys needs glibc: it does not know the locks of any other C library");

#[expect(unsafe_code, reason = "the numbers of descriptors that the environment names")]
pub mod activation;
pub mod adaptive;
pub mod alike;
#[cfg(feature = "tokio")]
#[expect(unsafe_code, reason = "registering a descriptor with a runtime")]
pub mod asynchronous;
pub mod budget;
#[expect(unsafe_code, reason = "typed atomics and copies over memory that peers write")]
pub mod cells;
mod cgroup;
#[expect(unsafe_code, reason = "fork and _exit")]
pub mod child;
#[expect(unsafe_code, reason = "volatile and rep-movs copies over memory that peers write")]
mod copy;
#[expect(unsafe_code, reason = "sched_getcpu")]
mod cpu;
#[cfg_attr(
    all(feature = "crash-points", not(all(mp_loom, feature = "testing"))),
    expect(unsafe_code, reason = "raise(SIGKILL)")
)]
pub mod crash;
pub mod dead;
pub mod deadline;
pub mod descriptors;
#[expect(unsafe_code, reason = "atfork handlers, what they close, and the page that a fork wipes")]
pub mod fork;
pub mod forkserver;
pub mod futex;
pub mod handoff;
#[cfg(feature = "handshake")]
pub mod handshake;
#[expect(unsafe_code, reason = "tgkill, and the descriptor of a namespace")]
pub mod identity;
#[cfg(feature = "handshake")]
pub mod key;
mod known;
pub mod line;
#[expect(unsafe_code, reason = "references into memory that a held lock protects")]
pub mod locked;
#[expect(unsafe_code, reason = "reading and writing a mapping's bytes")]
pub mod memory;
pub mod named;
mod os_error;
pub mod payload;
#[expect(unsafe_code, reason = "values in the capacity of a vector")]
pub mod places;
pub mod quiet;
pub mod ready;
pub mod reentrant;
#[expect(unsafe_code, reason = "a constructor before `main`, and the call of a function by its place")]
pub mod reexec;
#[expect(unsafe_code, reason = "atomics and copies at checked offsets of a mapping")]
pub mod region;
#[expect(unsafe_code, reason = "locks on the kernel's list, and those of the C library")]
pub mod robust;
#[expect(unsafe_code, reason = "sigsets, and the disposition of a signal")]
pub mod signals;
#[expect(unsafe_code, reason = "the number of a descriptor that an inherited value owns")]
pub mod socket;
#[expect(unsafe_code, reason = "addresses inside a mapping")]
pub mod span;
#[expect(unsafe_code, reason = "ioctl(SIOCOUTQ), and getsockopt(SO_PEERCRED)")]
pub mod stream;
#[cfg(feature = "testing")]
#[expect(unsafe_code, reason = "what tests do to their own process")]
pub mod testing;
mod transient;
pub mod travel;
#[cfg(feature = "wire")]
pub mod wire;
pub mod word;

pub use os_error::OsError;

pub use crossbeam_utils::{Backoff, CachePadded};

//! The operating-system floor of the `mp` crates: the only library crate that may contain `unsafe`.
//!
//! `shm-core`, `kernel-ipc`, `manager-rt` and `mp-facade` are `#![forbid(unsafe_code)]`; what they need from the
//! kernel, from pthreads or from raw memory is here, behind functions that check what they are given. It is pinned
//! with `=` and promises no stability: use the crates above it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`identity`], [`dead`] | who am I, is that other one still alive, and whose turn it is to look |
//! | [`fork`] | a process that knows that it was forked; state that starts afresh in a child |
//! | [`child`] | `fork` as a safe function, and the handle to wait for and signal a child |
//! | [`word`] | the words that protocols are made of: real ones, and those of models |
//! | [`forkserver`] | a process that forks children for this one |
//! | [`reexec`] | a new process that runs a function of the same program |
//! | [`deadline`], [`futex`], [`ready`], [`adaptive`] | waiting: until when, on what, and whether to spin or to sleep |
//! | [`budget`], [`memory`], [`span`] | how much memory may be reserved; mappings, and the pieces of them that are handed out |
//! | [`named`] | segments with a name, for programs that are not each other's children |
//! | [`robust`], [`locked`], [`reentrant`] | the lock that survives its owner, and data that only its holder can reach |
//! | [`region`] | memory that grows inside one mapping, read and written by checked offsets |
//! | [`cells`] | data that several processes use without a lock, without ever tearing an element |
//! | [`socket`] | packets between processes, with descriptors inside |
//! | [`stream`] | one end of a connected stream, which no forked child has |
//! | [`descriptors`] | the ways to make a descriptor, none of which gives 0, 1 or 2 |
//! | [`travel`], [`payload`] | what a message carries besides its bytes; and bytes that are too many for a packet |
//! | [`alike`] | which types are encoded alike |
//! | [`handoff`] | an end handed over through a stream that two strangers have |
//! | `handshake`, `key` | how two strangers prove to each other that they have one key, and the key (feature `handshake`) |
//! | [`signals`] | what a server process does about SIGTERM, SIGINT and the like |
//! | `wire` | why a value does not travel, in words (feature `wire`) |
//! | [`crash`] | counted points where a test kills the process (feature `crash-points`) |
//! | `testing` | the runner for tests that fork, and leak counts (feature `testing`) |
//!
//! `docs/SAFETY.md` in the repository gives the argument for every module that contains `unsafe`.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(target_os = "linux"))]
compile_error!("mp-sys runs on Linux only for now: the other systems follow behind the same functions");
// Another C library keeps a mutex's owner elsewhere, and whether a lock may be unmapped is asked of that word.
#[cfg(all(target_os = "linux", not(target_env = "gnu")))]
compile_error!("mp-sys needs glibc: it knows no other C library's locks");

pub mod adaptive;
pub mod alike;
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
    all(feature = "crash-points", not(all(loom, feature = "testing"))),
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
#[expect(unsafe_code, reason = "ioctl(SIOCOUTQ)")]
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

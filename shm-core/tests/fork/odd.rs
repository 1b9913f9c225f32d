//! Unusual conditions: other PID namespaces, no /proc, other clocks, exec, no free descriptor, frozen processes, and handles
//! that are dropped while their lock is held.
//!
//! In each of these states, it is impossible to ask about a process, or the process cannot answer. Nobody may take it for
//! dead, and nobody may wait for it.

pub(crate) mod clocks;
pub(crate) mod descriptors;
pub(crate) mod exec;
pub(crate) mod frozen;
pub(crate) mod namespaces;
pub(crate) mod no_proc;
pub(crate) mod rwlock;
pub(crate) mod unmapping;

use std::time::Duration;

/// Several slices, in which a waiter has looked for dead processes more than once.
const LOOKS: Duration = Duration::from_millis(150);

//! Odd circumstances: other PID namespaces, no /proc, other clocks, exec, no free descriptor, frozen processes, handles
//! that are dropped while their lock is held.
//!
//! Each of them is a state in which a process cannot be asked, or cannot answer, and in which it must neither be taken
//! for dead nor be waited for.

pub(crate) mod clocks;
pub(crate) mod descriptors;
pub(crate) mod exec;
pub(crate) mod frozen;
pub(crate) mod namespaces;
pub(crate) mod no_proc;
pub(crate) mod rwlock;
pub(crate) mod unmapping;

use std::time::Duration;

/// Several slices: whoever waits has looked for the dead, and more than once.
const LOOKS: Duration = Duration::from_millis(150);

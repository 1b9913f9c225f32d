//! The start methods, one file each. They differ in what a child begins with, and all return a [`Child`](crate::Child).

pub(crate) mod arguments;
pub(crate) mod error;
pub(crate) mod fork;
pub(crate) mod fork_with;
pub(crate) mod return_value;
pub(crate) mod spawn;
pub(crate) mod whole;

/// The most bytes that a process's name may have.
pub const NAME_BYTES_MAX: usize = mp_sys::reexec::LABEL_BYTES_MAX;

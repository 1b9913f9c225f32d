//! The start methods, one file each. They differ in what a child begins with; what they give is a [`Child`](crate::Child).

pub(crate) mod arguments;
pub(crate) mod error;
pub(crate) mod fork;
pub(crate) mod fork_with;
pub(crate) mod return_value;
pub(crate) mod spawn;
mod whole;

/// Bytes of a process's name.
pub const NAME_BYTES_MAX: usize = mp_sys::reexec::LABEL_BYTES_MAX;

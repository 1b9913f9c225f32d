//! The start methods, one file each. They differ in what a child begins with; what they give is a [`Child`](crate::Child).

pub(crate) mod arguments;
pub(crate) mod error;
pub(crate) mod fork;
pub(crate) mod fork_with;
pub(crate) mod spawn;
mod whole;

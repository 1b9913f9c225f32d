//! The signals that end children, as every Linux numbers them.

pub(crate) const SIGTERM: i32 = 15;
pub(crate) const SIGKILL: i32 = 9;

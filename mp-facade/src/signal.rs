//! The signals that end children, with the numbers that all Linux platforms use.

pub(crate) const SIGTERM: i32 = 15;
pub(crate) const SIGKILL: i32 = 9;

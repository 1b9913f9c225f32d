//! The commands of clients. Each connects, does one thing, and ends.

pub(crate) mod get;
pub(crate) mod rm;
pub(crate) mod shutdown;

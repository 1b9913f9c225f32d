//! The commands of clients. Each connects, does one thing, and ends.

mod attribute;
pub(crate) mod get;
pub(crate) mod inspect;
pub(crate) mod ls;
pub(crate) mod rm;
pub(crate) mod set;
pub(crate) mod shutdown;
pub(crate) mod snapshot;
pub(crate) mod top;

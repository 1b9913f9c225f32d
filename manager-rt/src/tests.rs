//! What the tests of several modules share.

pub(crate) mod plain_client;
#[cfg(feature = "tcp")]
pub(crate) mod remote_client;

//! The program `mp-manager`: every command, against real servers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod activation;
mod arguments;
mod ending;
mod getting;
mod guide;
mod keeping;
mod keys;
mod looking;
mod page;
mod program;
#[cfg(feature = "redis")]
mod redis;
mod removing;
mod serving;
mod unreachable;

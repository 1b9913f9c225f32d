#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod address;
pub mod backend;
pub mod limits;
#[cfg_attr(not(test), expect(dead_code, reason = "the manager that starts it follows"))]
mod process;
pub mod proto;
#[cfg_attr(not(test), expect(dead_code, reason = "the backends that use it follow"))]
mod references;
pub mod server;
#[expect(dead_code, reason = "the kinds of objects that use it follow")]
pub mod state;

pub use address::{Address, AddressError};
pub use backend::{Backend, CallError, Caps};
pub use mp_sys::OsError;
pub use process::StartError;
pub use server::{BindError, Server, ServerBuilder, Stopper};

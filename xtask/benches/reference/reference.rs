//! The raw primitives that the library's objects are measured against.
//!
//! Each is what a careful C program would use instead, called without anything around it. This folder is the only place
//! outside `mp-sys` where `unsafe` may appear (`cargo xtask tidy` checks it): if a raw reference were behind a safe
//! library, the benchmark would measure that library as well.

pub(crate) mod raw_condition;
pub(crate) mod raw_copy;
pub(crate) mod raw_fork;
pub(crate) mod raw_futex;
pub(crate) mod raw_mutex;
pub(crate) mod raw_packet;
pub(crate) mod raw_stream;
pub(crate) mod shared_page;

pub(crate) use raw_condition::RawCondition;
pub(crate) use raw_copy::RawMapping;
pub(crate) use raw_fork::{fork_and_wait, is_to_end_at_once, spawn_and_wait};
pub(crate) use raw_mutex::RawCounter;
pub(crate) use shared_page::{PingPong, SharedPage};

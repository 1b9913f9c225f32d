//! The raw primitives that our objects are measured against.
//!
//! Each is what a careful C program would use in its place, called without anything around it. This folder is the only
//! place outside `mp-sys` where `unsafe` may stand (`cargo xtask tidy` checks it): a raw reference behind a safe library
//! would be measured together with that library.

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

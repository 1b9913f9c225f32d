//! Synchronization between processes.
//!
//! | object | what it is |
//! |---|---|
//! | [`Lock`] | one holder at a time |

mod lock;

pub use mp_sys::robust::HELD_MAX;

pub use self::lock::{Lock, LockGuard};

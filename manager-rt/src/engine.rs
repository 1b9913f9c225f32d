//! The engines that run operations without a server of this crate.

mod in_process;

pub use self::in_process::InProcess;

//! The engines that run operations without a server of this crate.

#[cfg(feature = "server")]
mod in_process;

#[cfg(feature = "server")]
pub use self::in_process::InProcess;

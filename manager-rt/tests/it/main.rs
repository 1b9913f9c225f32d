//! The public behaviour of managers and their objects.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod asynchronous;
mod conformance;
#[cfg(feature = "tcp")]
mod cut_link;
mod keys;
mod lost_locks;
mod pieces;
mod pipelines;
mod private_names;
mod recorder;
mod relay;
mod restricted;
#[cfg(feature = "tcp")]
mod tcp;
#[cfg(feature = "tcp")]
mod tcp_cut_kinds;
#[cfg(feature = "tcp")]
mod tcp_cuts;
#[cfg(feature = "tcp")]
mod tcp_errors;
#[cfg(feature = "tcp")]
mod tcp_hostile;
#[cfg(feature = "tcp")]
mod tcp_relay;
mod wire_bytes;

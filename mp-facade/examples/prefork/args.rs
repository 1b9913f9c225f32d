//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

use crate::limits::PROCESSES_MAX;

/// Serves HTTP with several processes that accept from one port, any of which may be killed.
///
/// /status shows what they do. SIGHUP reads the settings again and replaces the workers one by one; SIGTERM and SIGINT end the
/// server when it has answered what it has in hand. It prints its address when it listens, and one JSON object at its end.
#[derive(Debug, Parser)]
#[command(name = "prefork")]
pub(crate) struct Args {
    /// Where to listen. With port 0, the kernel selects a free port.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// The number of processes that answer requests.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=i64::from(PROCESSES_MAX)))]
    pub(crate) workers: u16,
    /// The number of processes that write access records.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(PROCESSES_MAX)))]
    pub(crate) background: u16,
    /// The file for access records; what it contains is replaced.
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// A file of settings, which SIGHUP reads again: {"greeting": "…", "burst": 100, "per_hour": 36000}.
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
}

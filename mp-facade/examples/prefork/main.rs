//! A pre-fork HTTP server that loses nothing: its processes can be killed, replaced and ended under load.
//!
//! ```text
//! cargo run --release -p mp-facade --example prefork -- [--listen ADDRESS:PORT] [--workers N] [--background N] [--log FILE] [--settings FILE]
//! ```
//!
//! The parent listens, and workers accept from its one port. `/` counts a hit, `/session` a visit of one client, `/slow?ms=N`
//! takes its time, and `/status` shows what all processes do. The example shows:
//!
//! - An `mp::Group` keeps the processes running, replaces them one by one on SIGHUP, and ends them on SIGTERM (`parent`). Each
//!   worker starts its runtime after the fork, and has one thread for all its connections (`worker`, `connection`).
//! - Hits are a `Value`, so each has a number of its own, whichever worker counts it (`routes`).
//! - The rate limit of each client is a table in shared memory (`limiter`).
//! - Access records go through a `JoinableQueue` to background processes. A record is written at least once, at a place that
//!   follows from its number, so it is there exactly once (`records`, `background`).
//! - Sessions are in the dict of a manager, and change by atomic updates (`sessions`).
//! - Rows in shared memory say what each process is doing. They also prove what a kill costs: the requests in the dead worker's
//!   hand, and nothing else (`table`).
//! - No client is dropped at a reload or at the end: who is in the kernel's backlog belongs to all workers, and the port is
//!   closed to newcomers before it is closed (`port`).
//!
//! Exit code: 0; 1 if the server failed; 2 for bad arguments.

mod args;
mod background;
mod connection;
mod limiter;
mod limits;
mod parent;
mod port;
mod records;
mod routes;
mod sessions;
mod settings;
mod shared;
mod signals;
mod status;
mod stderr;
mod table;
mod worker;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // If nothing can be printed, the exit code must suffice.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match parent::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If nothing can be printed, the exit code must suffice.
            drop(writeln!(io::stderr(), "error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

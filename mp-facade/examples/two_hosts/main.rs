//! Two programs, on two hosts, share a queue of tasks and a dict. Any of them may be cut off at any moment.
//!
//! ```text
//! (umask 077; head -c 32 /dev/urandom | base64 > jobs.key)      # and copy it to the other host
//! cargo run --release -p mp-facade --features tcp --example two_hosts -- serve 0.0.0.0:7000 jobs.key
//! cargo run --release -p mp-facade --features tcp --example two_hosts -- work mp+tcp://FIRST-HOST:7000 jobs.key
//! ```
//!
//! `serve` starts a manager that other hosts reach, puts tasks into a queue, and waits until all are done. `work` needs only the
//! manager's address and the file with its key. It may run several times, on any host, before or while there are tasks.
//!
//! Both programs can use a manager that runs already. With `--features redis`, that may be a Redis server, and a namespace for this run:
//!
//! ```text
//! two_hosts serve redis://redis-host/0?ns=jobs
//! two_hosts work redis://redis-host/0?ns=jobs
//! ```
//!
//! A task is a range of numbers. The worker finds the primes in it, and adds to a dict how many end in each digit. It does so in one
//! transaction with the end of the task, so each range counts once, wherever the network is cut: the manager has performed
//! both or neither. In the second case it hands the task to a worker again, once it counts the first one as lost.
//!
//! Exit code: 0, or 1 if the count failed or the manager was out of reach for too long; 2 for bad arguments.
#![expect(clippy::print_stderr, reason = "a command says on stderr what went wrong")]

mod serve;
mod work;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use mp::manager::{CallError, Manager, ManagerBuilder};
use serde::{Deserialize, Serialize};

/// The name of the queue, for both programs.
const TASKS: &str = "tasks";
/// The name of the dict: how many primes end in each digit.
const ENDINGS: &str = "endings";

/// The pause before the manager is called again after it was out of reach.
const PAUSE: Duration = Duration::from_millis(100);

/// A range of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Range {
    from: u64,
    to: u64,
}

#[derive(Parser)]
#[command(about = "Count primes with the help of other hosts.")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a manager, fill its queue, and wait until all tasks are done.
    Serve {
        /// Where to listen, such as `0.0.0.0:7000`; with port 0, the system chooses one. Or the address of a manager that runs
        /// already, such as `redis://host/0?ns=jobs`.
        listen: String,
        /// The file with the key, of at least 32 bytes; for Redis, with the password, if it has one.
        key_file: Option<PathBuf>,
        /// Count the primes below this number.
        #[arg(long, default_value_t = 1_000_000)]
        below: u64,
        /// Divide the numbers into this many tasks.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
        tasks: u64,
    },
    /// Work on the tasks of a manager until its queue is closed.
    Work {
        /// The address that `serve` prints.
        address: String,
        /// The file with the manager's key.
        key_file: Option<PathBuf>,
        /// Give up if the manager is out of reach for this many seconds.
        #[arg(long, default_value_t = 60)]
        patience: u64,
    },
}

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Serve { listen, key_file, below, tasks } => {
            serve::run(&listen, key_file.as_deref(), below, tasks)
        }
        Command::Work { address, key_file, patience } => {
            work::run(&address, key_file.as_deref(), Duration::from_secs(patience))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns `true` for an error after which the same manager may be there again.
fn is_out_of_reach(error: &CallError) -> bool {
    matches!(error, CallError::ServerGone | CallError::OutcomeUnknown)
}

/// Returns the settings of a manager with this key.
fn builder(key_file: Option<&Path>) -> Result<ManagerBuilder> {
    let builder = Manager::builder();
    match key_file {
        Some(file) => builder.key_file(file).context(file.display().to_string()),
        None => Ok(builder),
    }
}

/// Prints a line that whoever reads it sees at once.
fn say(line: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).context("nothing can be printed")
}

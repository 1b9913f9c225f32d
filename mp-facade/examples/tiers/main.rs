//! Three tiers, one table: what the same work costs in shared memory, with kernel objects, and with a server process.
//!
//! ```text
//! cargo run --release -p mp-facade --example tiers -- [--json] [--svg FILE]
//! ```
//!
//! The work is to add to a counter that another process also sees, and to pass bytes to another process. Each figure is the
//! best of five samples; the processes run where the system puts them. The bars have a logarithmic scale, because the tiers
//! differ by factors. In return for its price, each tier offers more: shared memory and kernel objects reach processes that
//! inherit or receive them, and a manager offers whole containers to any process that knows its address.
//!
//! Exit code: 0; 1 if the measurement failed; 2 for bad arguments.
#![expect(clippy::print_stderr, reason = "a command says on stderr what went wrong")]

mod measure;
mod picture;
mod svg;

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

/// The exit code for bad arguments, the same as clap's.
const BAD_ARGUMENTS: u8 = 2;

/// Measures what the same work costs in each of the three tiers.
#[derive(Debug, Parser)]
#[command(name = "tiers")]
struct Args {
    /// Print one JSON object instead of bars.
    #[arg(long)]
    json: bool,
    /// Draw the bars into an SVG file too.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // If nothing can be printed, the exit code must suffice.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(BAD_ARGUMENTS));
        }
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let rows = measure::rows()?;
    if let Some(file) = &args.svg {
        fs::write(file, svg::svg(&rows)).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    let text = if args.json { picture::json(&rows) } else { picture::text(&rows) };
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("the result could not be printed")
}

//! Counts a tree of real files with several processes, any of which may be killed at any instruction.
//!
//! ```text
//! cargo run --release -p mp-facade --example tally -- [--workers N] [--kill N] [--top K] [--manager URL] [--compare] [--json] [PATH…]
//! ```
//!
//! It counts files, bytes, lines (newline bytes), words (runs of ASCII letters), and each letter in either case; `--help`
//! says what it leaves out. The example shows:
//!
//! - Workers are forked after the list of files was made, so each gets a copy of it for free (`walk`).
//! - A `JoinableQueue` hands out the work: the task of a killed worker goes to another one (`share`, `work`).
//! - Results are in shared memory, under the task's number. One step commits each of them, so a killed worker has committed a
//!   result or not, and a task that comes again after its result changes nothing. The sums are exact, whichever worker dies
//!   (`parent`, `ledger`). Try it with `--kill 20` (`plan`).
//! - With `--top K`, the words are counted in the dict of a manager, a separate process to which each worker connects. A
//!   worker adds the words of a task in transactions, each of which claims its own key, so words that are sent twice count
//!   once (`words`, `ranking`). With `--manager URL`, the dict is in a manager that runs already, such as a Redis server
//!   (`--features redis`), and nothing else changes.
//! - `join` returns when all tasks are finished, and the summary shows what each tier did (`total`).
//!
//! Exit code: 0, even if some files could not be read (they are listed); 1 if the count failed; 2 for bad arguments.
#![expect(clippy::print_stderr, reason = "a command says on stderr what went wrong")]

mod args;
mod count;
mod crew;
mod ledger;
mod parent;
mod plan;
mod ranking;
mod read;
mod report;
mod share;
mod total;
mod walk;
mod words;
mod work;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::Args;
use crate::parent::{Order, Run};
use crate::walk::Tree;

/// The exit code for bad arguments, the same as clap's.
const BAD_ARGUMENTS: u8 = 2;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // If nothing can be printed, the exit code must suffice.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(BAD_ARGUMENTS));
        }
    };
    if let Err(error) = walk::check(&args.paths) {
        eprintln!("error: {error:#}");
        return ExitCode::from(BAD_ARGUMENTS);
    }
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let bar = progress("finding files: {pos}", None);
    let tree = Tree::walk(&args.paths, &bar);
    bar.finish_and_clear();
    let walk = start.elapsed();

    let (top, manager) = (args.top, args.manager.as_deref());
    let order = Order { workers: args.workers(), kills: args.kill, top, manager };
    let in_peace = Order { kills: 0, ..order };
    if args.compare {
        // Otherwise the first of the two would read from the disk what the second one finds in memory.
        count(&tree, Order { top: None, ..in_peace }, "warming up")?;
    }
    let run = count(&tree, order, "counting")?;
    let single =
        if args.compare { Some(count(&tree, Order { workers: 1, ..in_peace }, "one worker")?) } else { None };
    let comparison = single.map_or_else(String::new, |single| report::comparison(&run, &single));

    if args.json {
        if args.compare {
            eprint!("{}\n{comparison}", report::throughput(&run));
        }
        return print(&report::json(&run));
    }
    print(&(report::text(&run, walk) + &comparison))
}

fn count(tree: &Tree, order: Order<'_>, what: &str) -> Result<Run> {
    let template = format!("{what} {{wide_bar}} {{bytes}} of {{total_bytes}}, {{bytes_per_sec}}");
    let bar = progress(&template, Some(tree.bytes));
    let run = parent::count(tree, order, &bar);
    bar.finish_and_clear();
    run
}

/// A bar on stderr, if that is a terminal. The parent moves it itself, because with another thread it could not fork.
fn progress(template: &str, length: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("the result could not be printed")
}

//! `cargo xtask …`: the workspace's own commands.
//!
//! There is one binary instead of a folder of shell scripts, so that a machine with cargo and a C linker can run
//! everything that CI runs. `cargo xtask --help` lists the commands. The benchmarks and the crash tests are targets of
//! this package too, but not part of this binary: only they may depend on the library crates (`tidy` checks it).
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the output of these commands is their product"
)]

mod bench;
mod ci;
mod downstream;
mod engines;
mod models;
mod step;
mod test;
mod tidy;
mod tsan;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The workspace's own commands.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every test: unit, integration, fork, crash and documentation tests.
    Test,
    /// Run all steps of CI in order, and print the time of each step.
    Ci(ci::Options),
    /// Check what compilers do not: dependencies between crates, the places of `unsafe`, public signatures, layout,
    /// links.
    Tidy(tidy::Options),
    /// Build and use the packages of the libraries as outside users do, with every set of features.
    Downstream,
    /// Run the tests of engines against those of another Debian, which are downloaded.
    Engines(engines::Options),
    /// Run the models of the protocols between processes, in every order of their steps.
    Models(models::ModelsOptions),
    /// Run the locks and queues in threads under ThreadSanitizer.
    Tsan,
    /// Measure the library's objects against references in the same run.
    Bench(bench::BenchOptions),
    /// Kill processes at every step of every protocol, and check what survives.
    Crash(bench::CrashOptions),
    /// Pass almost valid inputs to every function that takes bytes from peers.
    Fuzz(bench::FuzzOptions),
}

fn main() -> ExitCode {
    run(Arguments::parse()).unwrap_or_else(|error| {
        // One line: a wrong argument needs no backtrace, whatever the environment says.
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    match arguments.command {
        Command::Test => test::run(&workspace),
        Command::Ci(options) => ci::run(&workspace, &options),
        Command::Tidy(options) => tidy::run(&workspace, &options),
        Command::Models(options) => options.command(workspace.target()).pass_through(&workspace),
        Command::Downstream => downstream::run(&workspace),
        Command::Engines(options) => engines::run(&workspace, &options),
        Command::Tsan => tsan::run(&workspace),
        Command::Bench(options) => options.command().pass_through(&workspace),
        Command::Crash(options) => options.command().pass_through(&workspace),
        Command::Fuzz(options) => options.command().pass_through(&workspace),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}

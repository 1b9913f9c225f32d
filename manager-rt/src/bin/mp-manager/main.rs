//! `mp-manager`: a manager for programs that know nothing of each other, from the command line.
//!
//! `serve` runs a server. The other commands connect to one, do one thing there, and end. `mp-manager --help` and
//! `mp-manager COMMAND --help` say what each does.
//!
//! The program stands on what the library offers to everybody. It needs no type of any user: [`types`] finds the type of an
//! object by its fingerprint, among those that a command line can name.
//!
//! | module | what it holds |
//! |---|---|
//! | [`args`] | the command line, and its help |
//! | [`serve`], [`keys`], [`log`] | the server; key files; what the server says |
//! | [`target`], [`objects`] | connecting, and finding an object by its name |
//! | [`commands`] | one file for each command of a client |
//! | [`http`] | the page of a server, and its metrics |
//! | [`types`], [`values`] | the types of values, and values as text |
//! | [`look`], [`units`] | what a report says, as text and as JSON |
//! | [`output`], [`failure`] | what is printed, and the exit code |
#![forbid(unsafe_code)]

mod args;
mod commands;
mod failure;
mod http;
mod keys;
mod log;
mod look;
mod objects;
mod output;
mod serve;
mod target;
#[macro_use]
mod types;
mod units;
mod values;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use clap_complete::Shell;

use crate::args::{Args, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // If nothing can be printed, the exit code must suffice.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(failure::USAGE));
        }
    };
    match run(args.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                // As above.
                drop(writeln!(io::stderr(), "mp-manager: {message}"));
            }
            ExitCode::from(failure.code())
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(options) => serve::run(&options),
        Command::Keygen { file } => keys::make(&file),
        Command::Ls(options) => commands::ls::run(&options),
        Command::Top(options) => commands::top::run(&options),
        Command::Inspect(options) => commands::inspect::run(&options),
        Command::Get(options) => commands::get::run(&options),
        Command::Set(options) => commands::set::run(&options),
        Command::Rm(options) => commands::rm::run(&options),
        Command::Snapshot(options) => commands::snapshot::run(&options),
        Command::Shutdown(options) => commands::shutdown::run(&options),
        Command::Completions { shell } => completions(shell),
    }
}

/// Prints what makes a shell complete the commands and options.
fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "mp-manager", &mut script);
    output::write(&script)
}

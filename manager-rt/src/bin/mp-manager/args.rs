//! The command line, and its help.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

/// Runs a manager that several programs share.
///
/// A manager is a server that holds lists, dicts, values, locks and queues for any number of programs, on one host or several.
#[derive(Debug, Parser)]
#[command(name = "mp-manager", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  the operation failed or was refused, and changed nothing
  2  the arguments are wrong";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key file
    ///
    /// The file contains 32 random bytes as text, and only its owner can read it. A file that exists is never replaced.
    Keygen {
        /// The file to make
        file: PathBuf,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}

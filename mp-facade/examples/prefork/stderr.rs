//! Messages of the server's processes.

use std::io::{self, Write};

/// Writes a line to stderr. `eprintln!` would panic if that is a file on a full disk, and end the server.
pub(crate) fn log(line: &str) {
    // Nobody is left who could be told.
    drop(writeln!(io::stderr().lock(), "prefork: {line}"));
}

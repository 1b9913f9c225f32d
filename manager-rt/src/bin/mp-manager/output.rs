//! What is printed on stdout.
//!
//! A reader that goes away, as `head` does, ends a command without a message. Everything else that keeps the output from being
//! written is an error.

use std::io::{self, ErrorKind, Write};

use crate::failure::Failure;

/// Writes bytes.
///
/// # Errors
/// [`Failure::NobodyReads`], [`Failure::Failed`].
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::NobodyReads),
        Err(error) => Err(Failure::Failed(format!("the output cannot be written: {error}"))),
    }
}

/// Writes a line.
///
/// # Errors
/// As for [`write`].
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    write(format!("{text}\n").as_bytes())
}

/// Writes a note for the user on stderr. If nobody reads it, it is lost.
pub(crate) fn note(text: &str) {
    drop(writeln!(io::stderr(), "mp-manager: {text}"));
}

//! What is printed on stdout.
//!
//! A reader that goes away, as `head` does, ends a command without a message. Everything else that keeps the output from being
//! written is an error.

use std::io::{self, ErrorKind, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

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
/// As for [`write()`].
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    write(format!("{text}\n").as_bytes())
}

/// Writes a value as one line of JSON.
///
/// # Errors
/// As for [`write()`].
pub(crate) fn json(value: &Value) -> Result<(), Failure> {
    line(&value.to_string())
}

/// Writes a note for the user on stderr. If nobody reads it, it is lost.
pub(crate) fn note(text: &str) {
    drop(writeln!(io::stderr(), "mp-manager: {text}"));
}

/// Returns whether a person looks at the output.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Makes a table without lines, whose columns have these names, if they have names.
pub(crate) fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if !columns.is_empty() {
        table.set_header(columns.iter().copied());
    }
    table
}

/// Writes a table.
///
/// # Errors
/// As for [`write()`].
pub(crate) fn print(table: &Table) -> Result<(), Failure> {
    write(laid_out(table).as_bytes())
}

/// Returns the lines of a table, without the blanks that fill up a line.
pub(crate) fn laid_out(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        let line = line.trim_end();
        text.push_str(line.strip_prefix(' ').unwrap_or(line));
        text.push('\n');
    }
    text
}

/// Returns a text in which control characters are visible, so that what programs store cannot change a terminal.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() || is_invisible(char) {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown
}

/// Returns whether a character changes the direction of a text, or how it is shown, without being shown itself.
const fn is_invisible(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

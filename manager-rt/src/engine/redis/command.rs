//! [`Command`]: one call of a script.

use super::answer::number_of;
use super::script::Script;
use super::stored::stored;
use crate::backend::CallError;
use crate::count::count_of;
use crate::limits::NAME_BYTES_MAX;
use crate::proto::{Fault, Kind, ObjectId, Raw};

/// The names of the keys of a namespace. All of them have the same hash tag, so a script may use any of them.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    /// The tag: `{NAMESPACE}:`.
    tag: String,
}

impl Keys {
    pub(super) fn new(namespace: &str) -> Self {
        Self { tag: format!("{{{namespace}}}:") }
    }

    /// Returns the key of something that a namespace has once.
    pub(super) fn of(&self, what: &str) -> String {
        format!("{}{what}", self.tag)
    }

    /// Returns what the head of every object begins with. Its number follows.
    pub(super) fn objects(&self) -> String {
        self.of("o:")
    }

    /// Returns the keys of an object: its head, its data, and the order of its entries.
    pub(super) fn of_object(&self, object: ObjectId) -> [String; 3] {
        let head = format!("{}o:{}", self.tag, object.0);
        [head.clone(), format!("{head}:d"), format!("{head}:z")]
    }
}

/// One call of a script.
#[derive(Debug)]
pub(super) struct Command {
    script: &'static Script,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl Command {
    /// Calls a script that concerns no single object.
    pub(super) const fn new(script: &'static Script, keys: Vec<String>) -> Self {
        Self { script, keys, arguments: Vec::new() }
    }

    /// Calls a script of an object. The first argument is the number of the kind.
    pub(super) fn on(script: &'static Script, keys: &Keys, object: ObjectId, kind: Kind) -> Self {
        Self::new(script, keys.of_object(object).to_vec()).number(number_of(kind))
    }

    /// Adds the keys of another object.
    pub(super) fn and(mut self, keys: &Keys, object: ObjectId) -> Self {
        self.keys.extend(keys.of_object(object));
        self
    }

    /// Adds a key.
    pub(super) fn key(mut self, key: String) -> Self {
        self.keys.push(key);
        self
    }

    pub(super) fn bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.arguments.push(bytes.into());
        self
    }

    pub(super) fn number(self, number: impl ToString) -> Self {
        self.bytes(number.to_string())
    }

    pub(super) fn value(self, value: Raw<'_>) -> Self {
        self.bytes(stored(value))
    }

    pub(super) fn values<'a>(mut self, values: impl IntoIterator<Item = Raw<'a>>) -> Self {
        self.arguments.extend(values.into_iter().map(stored));
        self
    }

    pub(super) fn entries<'a>(self, entries: impl IntoIterator<Item = (Raw<'a>, Raw<'a>)>) -> Self {
        self.values(entries.into_iter().flat_map(|(key, value)| [key, value]))
    }

    pub(super) fn script(&self) -> &'static Script {
        self.script
    }

    /// Returns the command by which Redis runs the script that it knows, or the one that also contains its text.
    pub(super) fn packed(&self, with_text: bool) -> redis::Cmd {
        let compiled = self.script.compiled();
        let mut command = redis::cmd(if with_text { "EVAL" } else { "EVALSHA" });
        command.arg(if with_text { &compiled.text } else { &compiled.hash }).arg(self.keys.len());
        self.keys.iter().for_each(|key| {
            command.arg(key);
        });
        self.arguments.iter().for_each(|argument| {
            command.arg(&argument[..]);
        });
        command
    }
}

/// Checks how much of something one operation may contain.
///
/// # Errors
/// [`Fault::TooMany`].
pub(super) fn check(len: usize, limit: usize) -> Result<(), CallError> {
    if len <= limit { Ok(()) } else { Err(Fault::TooMany { limit: count_of(limit) }.into()) }
}

/// Returns the fingerprint of a type as a head stores it.
pub(super) fn hex(print: u64) -> String {
    format!("{print:016x}")
}

/// Checks the name of an object or an attribute.
///
/// # Errors
/// [`Fault::BadName`].
pub(super) fn check_name(name: &str) -> Result<(), Fault> {
    if (1..=NAME_BYTES_MAX).contains(&name.len()) {
        Ok(())
    } else {
        Err(Fault::BadName { limit: count_of(NAME_BYTES_MAX) })
    }
}

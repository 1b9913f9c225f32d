//! [`Command`]: one call of a script.

use super::answer::number_of;
use super::script::Script;
use super::stored::add_stored;
use super::words::{Words, packed};
use crate::backend::CallError;
use crate::count::count_of;
use crate::limits::NAME_BYTES_MAX;
use crate::proto::{Fault, Kind, ObjectId, Raw};

/// What stands after the number of an object in its keys: nothing in that of its head, and then its data, and the order of its entries.
const ENDS: [&str; 3] = ["", DATA, ":z"];
const DATA: &str = ":d";

/// Returns what stands after the number of an object in the key of its data. That of a list, a dict and a value differs, so that a
/// plain command finds data of the right kind or nothing.
const fn data_of(kind: Kind) -> &'static str {
    match kind {
        Kind::List => ":l",
        Kind::Dict => ":h",
        Kind::Value => ":v",
        _ => DATA,
    }
}

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

    /// Adds a key of an object.
    fn add(&self, words: &mut Words, object: ObjectId, end: &str) {
        words.add_around(&[self.tag.as_bytes(), b"o:"], object.0, end.as_bytes());
    }

    /// Adds the key of the data of an object.
    pub(super) fn add_data(&self, words: &mut Words, object: ObjectId, kind: Kind) {
        self.add(words, object, data_of(kind));
    }

    /// Adds the key of the head of an object.
    pub(super) fn add_head(&self, words: &mut Words, object: ObjectId) {
        self.add(words, object, "");
    }

    /// Returns what the head of every object begins with. Its number follows.
    pub(super) fn objects(&self) -> String {
        self.of("o:")
    }

    /// Returns the keys of an object: its head, its data, and the order of its entries.
    pub(super) fn of_object(&self, object: ObjectId) -> [String; 3] {
        ENDS.map(|end| format!("{}o:{}{end}", self.tag, object.0))
    }
}

/// One call of a script.
#[derive(Debug)]
pub(super) struct Command {
    script: &'static Script,
    keys: Words,
    arguments: Words,
}

impl Command {
    /// Calls a script without keys.
    fn new(script: &'static Script) -> Self {
        Self { script, keys: Words::new(), arguments: Words::new() }
    }

    /// Calls a script that concerns no single object, but things that a namespace has once.
    pub(super) fn with(script: &'static Script, keys: &Keys, what: &[&str]) -> Self {
        what.iter().fold(Self::new(script), |command, what| command.key(keys, what))
    }

    /// Calls a script of an object. It finds the keys of the object by that of its head.
    pub(super) fn of(script: &'static Script, keys: &Keys, object: ObjectId) -> Self {
        Self::new(script).with_keys(keys, object, [""])
    }

    /// Calls a script of an object. The first argument is the number of the kind.
    pub(super) fn on(script: &'static Script, keys: &Keys, object: ObjectId, kind: Kind) -> Self {
        let command = match data_of(kind) {
            DATA => Self::of(script, keys, object),
            _ => Self::new(script).and(keys, object, kind),
        };
        command.number(number_of(kind))
    }

    /// Calls a script whose only key is that of the data of an object.
    pub(super) fn on_data(script: &'static Script, keys: &Keys, object: ObjectId, kind: Kind) -> Self {
        Self::new(script).with_keys(keys, object, [data_of(kind)])
    }

    /// Adds the keys of another object.
    pub(super) fn and(self, keys: &Keys, object: ObjectId, kind: Kind) -> Self {
        let [head, _, order] = ENDS;
        self.with_keys(keys, object, [head, data_of(kind), order])
    }

    fn with_keys<const N: usize>(mut self, keys: &Keys, object: ObjectId, ends: [&str; N]) -> Self {
        ends.iter().for_each(|end| keys.add(&mut self.keys, object, end));
        self
    }

    /// Adds the key of something that a namespace has once.
    pub(super) fn key(mut self, keys: &Keys, what: &str) -> Self {
        self.keys.add(&[keys.tag.as_bytes(), what.as_bytes()]);
        self
    }

    pub(super) fn bytes(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.arguments.add(&[bytes.as_ref()]);
        self
    }

    pub(super) fn number(self, number: impl ToString) -> Self {
        self.bytes(number.to_string())
    }

    pub(super) fn value(mut self, value: Raw<'_>) -> Self {
        add_stored(&mut self.arguments, b"", value);
        self
    }

    /// Adds a value after something else, as one argument.
    pub(super) fn value_after(mut self, before: &[u8], value: Raw<'_>) -> Self {
        add_stored(&mut self.arguments, before, value);
        self
    }

    pub(super) fn values<'a>(self, values: impl IntoIterator<Item = Raw<'a>>) -> Self {
        values.into_iter().fold(self, Self::value)
    }

    pub(super) fn entries<'a>(self, entries: impl IntoIterator<Item = (Raw<'a>, Raw<'a>)>) -> Self {
        self.values(entries.into_iter().flat_map(|(key, value)| [key, value]))
    }

    pub(super) fn script(&self) -> &'static Script {
        self.script
    }

    pub(super) const fn keys(&self) -> &Words {
        &self.keys
    }

    pub(super) const fn arguments(&self) -> &Words {
        &self.arguments
    }

    /// Returns the command by which Redis runs the script that it knows, or the one that also contains its text.
    pub(super) fn packed(&self, with_text: bool) -> Vec<u8> {
        let compiled = self.script.compiled();
        let mut start = Words::new();
        let (name, script) = if with_text { ("EVAL", &compiled.text) } else { ("EVALSHA", &compiled.hash) };
        start.add(&[name.as_bytes()]);
        start.add(&[script.as_bytes()]);
        start.add(&[self.keys.len().to_string().as_bytes()]);
        packed(&[&start, &self.keys, &self.arguments])
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

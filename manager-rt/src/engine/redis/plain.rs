//! [`Plain`]: operations for which Redis has a command of its own. It takes Redis a fifth of the time of a script.
//!
//! The data of a list, a dict and a value has a key that no other kind of object uses, and that exists only as long as the object; that of
//! a list while it has items. So a command that finds it does what the script of the operation would do. If it finds nothing, it has changed
//! nothing, and the script is run after all: it knows why.

use redis::Value as Item;

use super::command::Keys;
use super::stored::add_stored;
use super::words::{Words, packed};
use crate::backend::CallError;
use crate::engine::stored::loaded;
use crate::proto::{DictOp, Kind, ListOp, ObjectId, Op, Payload, Raw, Reply, ValueOp};

/// One plain command.
#[derive(Debug)]
pub(super) struct Plain {
    pub(super) packed: Vec<u8>,
    /// Decodes its answer. `None` means that it found nothing.
    pub(super) read: fn(Item) -> Result<Option<Reply<Payload>>, CallError>,
}

/// Returns the command of an operation, if there is one.
pub(super) fn command(keys: &Keys, object: ObjectId, op: &Op<Raw<'_>>) -> Option<Plain> {
    let on = |name: &str, kind| {
        let mut words = Words::new();
        words.add(&[name.as_bytes()]);
        keys.add_data(&mut words, object, kind);
        words
    };
    let with = |name, kind, value| {
        let mut words = on(name, kind);
        add_stored(&mut words, b"", value);
        words
    };
    let (words, read): (Words, fn(Item) -> _) = match *op {
        Op::Dict(DictOp::Get(key)) => {
            let mut words = on("HMGET", Kind::Dict);
            words.add(&[]);
            add_stored(&mut words, b"", key);
            (words, entry)
        }
        Op::List(ListOp::Get(at)) => {
            let mut words = on("LINDEX", Kind::List);
            // Redis has no list that is longer.
            words.add(&[i64::try_from(at).ok()?.to_string().as_bytes()]);
            (words, value)
        }
        Op::List(ListOp::Push(item)) => (with("RPUSHX", Kind::List, item), len),
        Op::Value(ValueOp::Get) => (on("GET", Kind::Value), value),
        Op::Value(ValueOp::Store(new)) => {
            let mut words = with("SET", Kind::Value, new);
            words.add(&[b"XX"]);
            (words, done)
        }
        Op::Value(ValueOp::Set(new)) => {
            let mut words = with("SET", Kind::Value, new);
            words.add(&[b"XX"]);
            words.add(&[b"GET"]);
            (words, value)
        }
        _ => return None,
    };
    Some(Plain { packed: packed(&[&words]), read })
}

/// The mark of a dict, and the value at a key.
fn entry(item: Item) -> Result<Option<Reply<Payload>>, CallError> {
    let Item::Array(items) = item else { return Err(CallError::Protocol) };
    match <[Item; 2]>::try_from(items) {
        Ok([Item::Nil, _]) => Ok(None),
        Ok([_, Item::Nil]) => Ok(Some(Reply::Option(None))),
        Ok([_, Item::BulkString(value)]) => Ok(Some(Reply::Option(Some(loaded(value)?)))),
        _ => Err(CallError::Protocol),
    }
}

fn value(item: Item) -> Result<Option<Reply<Payload>>, CallError> {
    match item {
        Item::Nil => Ok(None),
        Item::BulkString(value) => Ok(Some(Reply::Value(loaded(value)?))),
        _ => Err(CallError::Protocol),
    }
}

/// The length of a list after something was added.
fn len(item: Item) -> Result<Option<Reply<Payload>>, CallError> {
    match item {
        Item::Int(0) => Ok(None),
        Item::Int(1..) => Ok(Some(Reply::Done)),
        _ => Err(CallError::Protocol),
    }
}

fn done(item: Item) -> Result<Option<Reply<Payload>>, CallError> {
    match item {
        Item::Nil => Ok(None),
        Item::Okay => Ok(Some(Reply::Done)),
        _ => Err(CallError::Protocol),
    }
}

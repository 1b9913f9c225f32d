//! What a report says about objects, as text and as JSON.

use std::time::Duration;

use manager_rt::report::{LockHolder, ObjectReport};
use serde_json::{Value as Json, json};

use crate::objects::has_type;
use crate::output::visible;
use crate::types::Types;
use crate::units;

/// Returns the name of an object, or its number.
pub(crate) fn label(name: Option<&str>, id: manager_rt::report::ObjectId) -> String {
    name.map_or_else(|| id.to_string(), visible)
}

/// Returns the type of an object, `?` if it cannot be named, and `None` if the kind has none.
pub(crate) fn type_of(object: &ObjectReport) -> Option<String> {
    let named =
        || Types::find(object.kind, object.print).map_or_else(|| "?".to_owned(), |types| types.to_string());
    has_type(object.kind).then(named)
}

/// Returns the memory of an object.
pub(crate) fn size(object: &ObjectReport) -> String {
    format!("{}{}", if object.is_estimate { "~" } else { "" }, units::bytes(object.bytes))
}

/// Returns a number as text, or nothing for 0, so that what matters stands out.
pub(crate) fn some(count: u64) -> String {
    if count == 0 { String::new() } else { count.to_string() }
}

fn seconds(time: Duration) -> Json {
    json!(time.as_secs_f64())
}

pub(crate) fn holder_json(holder: &LockHolder) -> Json {
    json!({
        "client": holder.client,
        "thread": holder.thread,
        "token": holder.token,
        "depth": holder.depth,
        "held_seconds": seconds(holder.held_for),
        "lease_left_seconds": holder.lease_left.map(seconds),
    })
}

pub(crate) fn object_json(object: &ObjectReport) -> Json {
    json!({
        "name": object.name,
        "id": object.id.0,
        "kind": object.kind.to_string(),
        "type": type_of(object),
        "len": object.len,
        "bytes": object.bytes,
        "bytes_are_estimate": object.is_estimate,
        "references": object.references,
        "waiters": object.waiters,
        "held": object.held,
        "holder": object.holder.as_ref().map(holder_json),
    })
}

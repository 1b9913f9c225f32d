//! What a report says, as text and as JSON: objects, holders, clients and waits.

use comfy_table::Table;
use std::collections::HashMap;
use std::time::Duration;

use manager_rt::report::{
    ClientReport, Deadlock, LockHolder, ObjectReport, ServerReport, WaitFor, WaitReport,
};
use serde_json::{Value as Json, json};

use crate::objects::has_type;
use crate::output;
use crate::output::visible;
use crate::types::Types;
use crate::units;

/// The clients of a report by the numbers of their connections.
pub(crate) struct Clients(HashMap<u64, ClientReport>);

impl Clients {
    pub(crate) fn new(clients: &[ClientReport]) -> Self {
        Self(clients.iter().map(|client| (client.number, client.clone())).collect())
    }

    /// Returns what is known about a client: `3 (worker, 4711)`, by the name and the number of its process, or its address.
    pub(crate) fn who(&self, number: u64) -> String {
        let Some(client) = self.0.get(&number) else { return number.to_string() };
        let place = place(client);
        if place.is_empty() { number.to_string() } else { format!("{number} ({place})") }
    }

    /// Returns the holder of a lock: the client, and the thread in it.
    pub(crate) fn holder(&self, holder: &LockHolder) -> String {
        format!("{}, thread {}", self.who(holder.client), holder.thread)
    }

    /// Returns a circle of waits as one line.
    pub(crate) fn deadlock(&self, deadlock: &Deadlock) -> String {
        let waits = deadlock.waits.iter().map(|wait| {
            let holder = wait
                .holder
                .as_ref()
                .map_or_else(String::new, |holder| format!(", held by client {}", self.holder(holder)));
            format!("waits for {} {}{holder}", wait.kind, label(wait.name.as_deref(), wait.object))
        });
        let first = deadlock.waits.first().map_or_else(String::new, |wait| {
            format!("client {}, thread {} ", self.who(wait.client), wait.thread)
        });
        let end = match deadlock.ends_in() {
            Some(time) => format!("; it ends in {}", units::time(time)),
            None => "; it never ends by itself".to_owned(),
        };
        format!("DEADLOCK: {first}{}{end}", waits.collect::<Vec<_>>().join(", which "))
    }
}

/// Returns where a client is.
pub(crate) fn place(client: &ClientReport) -> String {
    let origin = &client.origin;
    let parts = [origin.program.clone(), origin.pid.map(|pid| pid.to_string()), origin.address.clone()];
    visible(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// Returns a table of objects, whose first column has this title.
pub(crate) fn table_of(title: &str, objects: &[ObjectReport]) -> Table {
    let mut table =
        output::table(&[title, "KIND", "TYPE", "LENGTH", "SIZE", "REFERENCES", "HELD", "WAITING"]);
    for object in objects {
        table.add_row([
            label(object.name.as_deref(), object.id),
            object.kind.to_string(),
            type_of(object).unwrap_or_default(),
            object.len.map_or_else(String::new, |len| len.to_string()),
            size(object),
            object.references.to_string(),
            some(object.held),
            some(object.waiters),
        ]);
    }
    table
}

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

/// Returns what a call waits for.
pub(crate) const fn purpose(wait_for: WaitFor) -> &'static str {
    match wait_for {
        WaitFor::Lock => "the lock",
        WaitFor::Permit => "a permit",
        WaitFor::Notification => "a notification",
        WaitFor::Flag => "the event",
        WaitFor::Room => "room",
        WaitFor::Items => "an item",
        WaitFor::AllDone => "the end of all tasks",
        WaitFor::Parties => "the other parties",
        _ => "something",
    }
}

/// Returns the memory of an object.
pub(crate) fn size(object: &ObjectReport) -> String {
    format!("{}{}", if object.is_estimate { "~" } else { "" }, units::bytes(object.bytes))
}

/// Returns when the objects were saved to the file of `--keep`, and how many times that failed, unless neither has happened.
pub(crate) fn saves(server: &ServerReport) -> Option<String> {
    let last = server.last_save.map(|ago| format!("saved {} ago", units::time(ago)));
    let failed = (server.failed_saves > 0).then(|| format!("failed saves {}", server.failed_saves));
    let parts: Vec<String> = last.into_iter().chain(failed).collect();
    if parts.is_empty() { None } else { Some(parts.join("  ")) }
}

/// Returns a number as text, or nothing for 0, so that what matters stands out.
pub(crate) fn some(count: u64) -> String {
    if count == 0 { String::new() } else { count.to_string() }
}

fn seconds(time: Duration) -> Json {
    json!(time.as_secs_f64())
}

pub(crate) fn client_json(client: &ClientReport) -> Json {
    json!({
        "client": client.number,
        "program": client.origin.program,
        "pid": client.origin.pid,
        "address": client.origin.address,
        "connected_seconds": seconds(client.connected_for),
        "operations": client.operations,
        "waiting": client.waiting,
        "references": client.references,
        "bytes": client.bytes,
    })
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

pub(crate) fn wait_json(wait: &WaitReport) -> Json {
    json!({
        "client": wait.client,
        "thread": wait.thread,
        "object": wait.name,
        "id": wait.object.0,
        "kind": wait.kind.to_string(),
        "waits_for": purpose(wait.wait_for),
        "waited_seconds": seconds(wait.waited),
        "time_left_seconds": wait.time_left.map(seconds),
        "holder": wait.holder.as_ref().map(holder_json),
    })
}

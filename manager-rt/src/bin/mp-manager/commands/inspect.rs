//! `inspect`: prints everything about one object.

use manager_rt::CallError;
use manager_rt::report::{ClientReport, Deadlock, WaitReport};
use serde_json::json;

use crate::args::Inspect;
use crate::failure::Failure;
use crate::look::{Clients, client_json, object_json, purpose, size, type_of, wait_json};
use crate::output;
use crate::target::Connection;
use crate::units::time;

type Known = (Vec<ClientReport>, Vec<WaitReport>, Vec<Deadlock>);

/// Returns the clients, the waiting calls and the deadlocks. An engine without reports knows none of them.
fn report_of(connection: &Connection) -> Result<Known, Failure> {
    match connection.manager.report() {
        Ok(report) => Ok((report.clients, report.waits, report.deadlocks)),
        Err(CallError::Unsupported { .. }) => Ok(Default::default()),
        Err(error) => Err(Failure::of_call(connection.address(), &error)),
    }
}

pub(crate) fn run(options: &Inspect) -> Result<(), Failure> {
    let connection = Connection::open(&options.target)?;
    let object = connection.manager.object(&options.name);
    let object = object.map_err(|error| Failure::of_call(&connection.object(&options.name), &error))?;
    let (all_clients, waits, deadlocks) = report_of(&connection)?;
    let waits: Vec<&WaitReport> = waits.iter().filter(|wait| wait.object == object.id).collect();
    let clients = Clients::new(&all_clients);
    let circles =
        deadlocks.iter().filter(|deadlock| deadlock.waits.iter().any(|wait| wait.object == object.id));
    if options.json {
        let mut all = object_json(&object);
        let concerned = |number: u64| {
            object.holder.as_ref().is_some_and(|holder| holder.client == number)
                || waits.iter().any(|wait| wait.client == number)
        };
        let of: Vec<_> =
            all_clients.iter().filter(|client| concerned(client.number)).map(client_json).collect();
        if let Some(fields) = all.as_object_mut() {
            fields.insert("waits".to_owned(), waits.iter().map(|wait| wait_json(wait)).collect());
            fields.insert("clients".to_owned(), json!(of));
            fields.insert("deadlocks".to_owned(), circles.map(|circle| json!(circle.to_string())).collect());
        }
        return output::json(&all);
    }
    let mut table = output::table(&[]);
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    row("name", output::visible(&options.name));
    row("id", object.id.to_string());
    row("kind", object.kind.to_string());
    if let Some(of) = type_of(&object) {
        row("type", of);
    }
    if let Some(len) = object.len {
        row("length", len.to_string());
    }
    row("size", size(&object));
    row("references", object.references.to_string());
    if object.held > 0 {
        row("held", object.held.to_string());
    }
    if let Some(holder) = &object.holder {
        row("held by", format!("{} for {}", clients.holder(holder), time(holder.held_for)));
        row("token", holder.token.to_string());
        if holder.depth > 1 {
            row("taken", format!("{} times", holder.depth));
        }
        if let Some(left) = holder.lease_left {
            row("lease", format!("ends in {}", time(left)));
        }
    }
    if object.waiters > 0 && waits.is_empty() {
        row("waiting", object.waiters.to_string());
    }
    for wait in &waits {
        let left = wait.time_left.map_or_else(String::new, |left| format!(", at most {} more", time(left)));
        let who = clients.who(wait.client);
        row(
            "waiting",
            format!(
                "{who}, thread {} for {} for {}{left}",
                wait.thread,
                purpose(wait.wait_for),
                time(wait.waited)
            ),
        );
    }
    output::print(&table)?;
    circles.map(|circle| clients.deadlock(circle)).try_for_each(|text| output::line(&text))
}

//! `top`: shows again and again what happens in a manager.
//!
//! Each look is a report, whose calls are short, so looking disturbs nobody. Rates are what happened between two looks; the first
//! look shows averages since the server began.

use std::thread;
use std::time::Instant;

use manager_rt::report::{ObjectReport, Report};
use rustix::termios::tcgetwinsize;
use serde_json::{Value as Json, json};

use crate::args::Top;
use crate::failure::Failure;
use crate::look::{
    Clients, client_json, label, object_json, place, purpose, saves, some, table_of, wait_json,
};
use crate::output;
use crate::target::Connection;
use crate::units::{bytes, per_second, time};

/// Moves to the upper left corner.
const HOME: &str = "\u{1b}[H";
/// Erases the rest of the line, and the rest of the screen.
const ERASE: [&str; 2] = ["\u{1b}[K", "\u{1b}[J"];
/// The size of a terminal that does not tell its size: columns and rows.
const USUAL: (u16, u16) = (80, 24);

/// What was seen at one moment.
struct Look {
    at: Instant,
    report: Report,
    /// The objects, the largest first.
    objects: Vec<ObjectReport>,
}

pub(crate) fn run(options: &Top) -> Result<(), Failure> {
    let connection = Connection::open(&options.target)?;
    let is_live = output::is_terminal() && !options.once && !options.json;
    let mut before: Option<Look> = None;
    loop {
        let look = Look::new(&connection)?;
        if options.json {
            output::json(&look.json(&connection, before.as_ref()))?;
        } else if is_live {
            output::write(on_screen(&look.text(&connection, before.as_ref())).as_bytes())?;
        } else {
            output::write(look.text(&connection, before.as_ref()).as_bytes())?;
        }
        if options.once || !is_live && !options.json {
            return Ok(());
        }
        before = Some(look);
        thread::sleep(options.interval);
    }
}

impl Look {
    fn new(connection: &Connection) -> Result<Self, Failure> {
        let failed = |error| Failure::of_call(connection.address(), &error);
        let report = connection.manager.report().map_err(failed)?;
        let mut objects = connection.manager.objects().collect::<Result<Vec<_>, _>>().map_err(failed)?;
        objects.sort_by_key(|object| (u64::MAX - object.bytes, object.id));
        Ok(Self { at: Instant::now(), report, objects })
    }

    /// Returns the operations in a second, of the whole server.
    fn rate(&self, before: Option<&Self>) -> u64 {
        let server = &self.report.server;
        before.map_or_else(
            || per_second(server.operations, server.uptime),
            |before| {
                let done = server.operations.saturating_sub(before.report.server.operations);
                per_second(done, self.at - before.at)
            },
        )
    }

    /// Returns the operations in a second of each client, in the order of the report.
    fn rates(&self, before: Option<&Self>) -> Vec<u64> {
        let rate = |client: &manager_rt::report::ClientReport| {
            let earlier = before.and_then(|look| {
                let same = look.report.clients.iter().find(|other| other.number == client.number)?;
                Some((same.operations, self.at - look.at))
            });
            let (operations, time) = earlier.unwrap_or((0, client.connected_for));
            per_second(client.operations.saturating_sub(operations), time)
        };
        self.report.clients.iter().map(rate).collect()
    }

    fn json(&self, connection: &Connection, before: Option<&Self>) -> Json {
        let Report { server, clients, waits, deadlocks, .. } = &self.report;
        json!({
            "address": connection.address(),
            "version": server.version,
            "pid": server.pid,
            "uptime_seconds": server.uptime.as_secs_f64(),
            "memory_used": server.memory_used,
            "memory_max": server.memory_max,
            "clients_max": server.clients_max,
            "operations": server.operations,
            "operations_per_second": self.rate(before),
            "failed_saves": server.failed_saves,
            "last_save_seconds": server.last_save.map(|ago| ago.as_secs_f64()),
            "deadlocks": deadlocks.iter().map(|deadlock| json!({
                "text": deadlock.to_string(),
                "ends_in_seconds": deadlock.ends_in().map(|time| time.as_secs_f64()),
                "waits": deadlock.waits.iter().map(wait_json).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "waits": waits.iter().map(wait_json).collect::<Vec<_>>(),
            "clients": clients.iter().map(client_json).collect::<Vec<_>>(),
            "objects": self.objects.iter().map(object_json).collect::<Vec<_>>(),
        })
    }

    fn text(&self, connection: &Connection, before: Option<&Self>) -> String {
        let server = &self.report.server;
        let clients = Clients::new(&self.report.clients);
        let mut parts = vec![format!(
            "{}  up {}  process {}  version {}\n\
             operations/s {}  clients {} of {}  objects {}  held {}  waiting {}  memory {} of {}\n{}",
            output::visible(connection.address()),
            time(server.uptime),
            server.pid,
            output::visible(&server.version),
            self.rate(before),
            server.clients,
            server.clients_max,
            server.objects,
            server.held,
            server.waiters,
            bytes(server.memory_used),
            bytes(server.memory_max),
            saves(server).map(|saves| saves + "\n").unwrap_or_default(),
        )];
        let deadlocks = self.report.deadlocks.iter().map(|deadlock| clients.deadlock(deadlock) + "\n");
        parts.push(deadlocks.collect());
        parts.push(self.held(&clients));
        parts.push(self.waiting(&clients));
        parts.push(self.clients(before));
        parts.push(self.objects());
        parts.retain(|part| !part.is_empty());
        parts.join("\n")
    }

    fn held(&self, clients: &Clients) -> String {
        let mut table = output::table(&["LOCK", "KIND", "HELD BY CLIENT", "FOR", "LEASE", "WAITING"]);
        for object in &self.report.busy {
            let Some(holder) = &object.holder else { continue };
            table.add_row([
                label(object.name.as_deref(), object.id),
                object.kind.to_string(),
                clients.holder(holder),
                time(holder.held_for),
                holder.lease_left.map(time).unwrap_or_default(),
                some(object.waiters),
            ]);
        }
        if table.is_empty() { String::new() } else { output::laid_out(&table) }
    }

    fn waiting(&self, clients: &Clients) -> String {
        let mut table =
            output::table(&["CLIENT", "WAITS FOR", "OF", "KIND", "FOR", "AT MOST", "HELD BY CLIENT"]);
        for wait in &self.report.waits {
            table.add_row([
                format!("{}, thread {}", clients.who(wait.client), wait.thread),
                purpose(wait.wait_for).to_owned(),
                label(wait.name.as_deref(), wait.object),
                wait.kind.to_string(),
                time(wait.waited),
                wait.time_left.map(time).unwrap_or_default(),
                wait.holder.as_ref().map(|holder| clients.holder(holder)).unwrap_or_default(),
            ]);
        }
        if table.is_empty() { String::new() } else { output::laid_out(&table) }
    }

    fn clients(&self, before: Option<&Self>) -> String {
        let mut table = output::table(&[
            "CLIENT",
            "PROCESS",
            "CONNECTED",
            "OPERATIONS/S",
            "WAITING",
            "REFERENCES",
            "SIZE",
        ]);
        let mut rows: Vec<_> = self.report.clients.iter().zip(self.rates(before)).collect();
        rows.sort_by_key(|(client, rate)| (u64::MAX - rate, client.number));
        for (client, rate) in rows {
            table.add_row([
                client.number.to_string(),
                place(client),
                time(client.connected_for),
                rate.to_string(),
                some(client.waiting),
                some(client.references),
                bytes(client.bytes),
            ]);
        }
        output::laid_out(&table)
    }

    fn objects(&self) -> String {
        let table = table_of("OBJECT", &self.objects);
        if table.is_empty() { String::new() } else { output::laid_out(&table) }
    }
}

/// Returns a text that replaces what the terminal shows, as far as there is room.
fn on_screen(text: &str) -> String {
    let size = tcgetwinsize(std::io::stdout()).map(|size| (size.ws_col, size.ws_row));
    let (columns, rows) = size.ok().filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or(USUAL);
    let mut screen = HOME.to_owned();
    for line in text.lines().take(usize::from(rows).saturating_sub(1)) {
        screen.extend(line.chars().take(usize::from(columns)));
        screen.push_str(ERASE[0]);
        screen.push('\n');
    }
    screen + ERASE[1]
}

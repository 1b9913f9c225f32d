//! A report in the text format of Prometheus, version 0.0.4.

use std::cmp::Reverse;
use std::fmt::{self, Display, Write};
use std::time::Duration;

use manager_rt::report::{ClientReport, LockHolder, ObjectReport};

use crate::http::limits::LINES_MAX;
use crate::http::source::Sample;

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns a value of a client.
type OfClient = fn(&ClientReport) -> String;
/// Returns a value of an object, if it has one.
type OfObject = fn(&ObjectReport) -> Option<String>;

/// Returns all metrics.
pub(super) fn metrics(sample: &Sample) -> String {
    let mut text = String::new();
    let server = &sample.report.server;
    for (name, kind, help, value) in [
        ("uptime_seconds", "gauge", "How long the server has been serving.", seconds(server.uptime)),
        ("memory_used_bytes", "gauge", "The memory that everything takes.", whole(server.memory_used)),
        ("memory_max_bytes", "gauge", "The most memory that everything may take.", whole(server.memory_max)),
        ("clients", "gauge", "Connected clients.", whole(server.clients)),
        ("clients_max", "gauge", "The most clients that can be connected.", whole(server.clients_max)),
        ("objects", "gauge", "Objects.", whole(server.objects)),
        ("waiting_calls", "gauge", "Calls that wait for an object.", whole(server.waiters)),
        ("held", "gauge", "Held locks, permits and leases.", whole(server.held)),
        ("operations_total", "counter", "Finished operations.", whole(server.operations)),
        (
            "failed_saves_total",
            "counter",
            "Saves to the file of --keep that have failed.",
            whole(server.failed_saves),
        ),
        (
            "deadlocks",
            "gauge",
            "Circles of calls that wait for each other.",
            whole(sample.report.deadlocks.len()),
        ),
        (
            "longest_wait_seconds",
            "gauge",
            "How long the oldest waiting call has waited.",
            seconds(longest(sample)),
        ),
    ] {
        Family { name, kind, help }.one(&mut text, &[], &value);
    }
    if let Some(ago) = server.last_save {
        let help = "How long ago the objects were saved to the file of --keep.";
        Family { name: "last_save_age_seconds", kind: "gauge", help }.one(&mut text, &[], &seconds(ago));
    }
    let info = Family { name: "info", kind: "gauge", help: "The version of the server." };
    info.one(&mut text, &[("version", &server.version)], "1");
    of_clients(&mut text, sample);
    of_objects(&mut text, sample);
    text
}

fn of_clients(text: &mut String, sample: &Sample) {
    let mut clients: Vec<_> = sample.report.clients.iter().collect();
    clients.sort_by_key(|client| (Reverse(client.operations), client.number));
    clients.truncate(LINES_MAX);
    let families: [(&'static str, &'static str, &'static str, OfClient); 3] = [
        ("client_operations_total", "counter", "Finished operations of a client.", |client| {
            whole(client.operations)
        }),
        ("client_waiting_calls", "gauge", "Waiting calls of a client.", |client| whole(client.waiting)),
        ("client_bytes", "gauge", "What is kept for a client.", |client| whole(client.bytes)),
    ];
    for (name, kind, help, value) in families {
        let family = Family { name, kind, help };
        family.head(text, !clients.is_empty());
        for client in &clients {
            let number = client.number.to_string();
            let pid = client.origin.pid.map(|pid| pid.to_string()).unwrap_or_default();
            let program = client.origin.program.as_deref().unwrap_or_default();
            let address = client.origin.address.as_deref().unwrap_or_default();
            let labels = [("client", &*number), ("pid", &pid), ("program", program), ("address", address)];
            family.line(text, &labels, &value(client));
        }
    }
}

fn of_objects(text: &mut String, sample: &Sample) {
    let families: [(&'static str, &'static str, OfObject); 4] = [
        ("object_bytes", "The memory of an object, with its values.", |object| Some(whole(object.bytes))),
        ("object_items", "The items of an object, or the free permits of a semaphore.", |object| {
            object.len.map(whole)
        }),
        ("object_waiting_calls", "Calls that wait for an object.", |object| Some(whole(object.waiters))),
        ("lock_held_seconds", "How long a lock has been held.", |object| {
            object.holder.as_ref().map(|LockHolder { held_for, .. }| seconds(*held_for))
        }),
    ];
    let busy = sample.report.busy.iter().take(LINES_MAX);
    let is_new =
        |object: &&ObjectReport| !sample.report.busy.iter().take(LINES_MAX).any(|busy| busy.id == object.id);
    let objects: Vec<_> = busy.chain(sample.objects.iter().filter(is_new)).collect();
    for (name, help, value) in families {
        let family = Family { name, kind: "gauge", help };
        family.head(text, objects.iter().any(|object| value(object).is_some()));
        for object in &objects {
            let (id, kind) = (object.id.to_string(), object.kind.to_string());
            let labels =
                [("object", &*id), ("kind", &kind), ("name", object.name.as_deref().unwrap_or_default())];
            value(object).into_iter().for_each(|value| family.line(text, &labels, &value));
        }
    }
}

fn longest(sample: &Sample) -> Duration {
    sample.report.waits.iter().map(|wait| wait.waited).max().unwrap_or_default()
}

fn whole(number: impl Display) -> String {
    number.to_string()
}

fn seconds(time: Duration) -> String {
    time.as_secs_f64().to_string()
}

/// Metrics of one name.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
}

impl Family {
    /// Writes a family of one line.
    fn one(&self, text: &mut String, labels: &[(&str, &str)], value: &str) {
        self.head(text, true);
        self.line(text, labels, value);
    }

    /// Writes what the family is, if it has lines.
    fn head(&self, text: &mut String, has_lines: bool) {
        let Self { name, kind, help } = self;
        if has_lines {
            write(text, format_args!("# HELP mp_manager_{name} {help}\n# TYPE mp_manager_{name} {kind}\n"));
        }
    }

    fn line(&self, text: &mut String, labels: &[(&str, &str)], value: &str) {
        write(text, format_args!("mp_manager_{}", self.name));
        for (place, (label, value)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            write(text, format_args!("{before}{label}=\"{}\"", Label(value)));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        write(text, format_args!("{end} {value}\n"));
    }
}

fn write(text: &mut String, what: fmt::Arguments<'_>) {
    text.push_str(&fmt::format(what));
}

/// The value of a label. The format escapes a backslash, a quotation mark and a line feed, and nothing else.
struct Label<'a>(&'a str);

impl Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_stays_one_value_on_one_line() {
        for (value, expected) in [
            ("plain", "plain"),
            ("a\"} 1\nmp_manager_objects 9", "a\\\"} 1\\nmp_manager_objects 9"),
            ("\\", "\\\\"),
            ("\\\"", "\\\\\\\""),
            ("\\n", "\\\\n"),
            ("é{}=,\t\u{1b}", "é{}=,\t\u{1b}"),
        ] {
            assert_eq!(Label(value).to_string(), expected);
        }
    }

    #[test]
    fn a_family_without_lines_has_no_head() {
        let family = Family { name: "a", kind: "gauge", help: "b" };
        let mut text = String::new();
        family.head(&mut text, false);
        assert_eq!(text, "");
        family.one(&mut text, &[("x", "1"), ("y", "")], "2");
        assert_eq!(
            text,
            "# HELP mp_manager_a b\n# TYPE mp_manager_a gauge\nmp_manager_a{x=\"1\",y=\"\"} 2\n"
        );
    }
}

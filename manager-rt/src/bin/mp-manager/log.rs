//! What a server says while it serves: errors of the library, on stderr.
//!
//! The library logs by `tracing`. Everything below an error concerns one connection, and whoever connects could fill stderr with it.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::set_global_default;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::output;

/// Prints errors from now on.
pub(crate) fn begin() {
    // This fails if something else prints them already.
    drop(set_global_default(Errors));
}

struct Errors;

impl Subscriber for Errors {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() == Level::ERROR
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        output::note(&output::visible(&format!("{}{}", line.message, line.rest)));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// An event as one line: its message, and then its values.
#[derive(Default)]
struct Line {
    message: String,
    rest: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = match field.name() {
            "message" => return self.message = format!("{value:?}"),
            "error" | "fault" => format!(": {value:?}"),
            name => format!(", {name} {value:?}"),
        };
        self.rest.push_str(&text);
    }
}

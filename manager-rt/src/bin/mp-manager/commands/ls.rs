//! `ls`: lists the objects.

use manager_rt::report::ObjectReport;

use crate::args::Ls;
use crate::failure::Failure;
use crate::look::{label, object_json, size, some, type_of};
use crate::output;
use crate::target::Connection;

pub(crate) fn run(options: &Ls) -> Result<(), Failure> {
    let connection = Connection::open(&options.target)?;
    let objects = connection
        .manager
        .objects()
        .filter(|object| options.all || object.as_ref().map_or(true, |object| object.name.is_some()));
    let objects: Result<Vec<ObjectReport>, _> = objects.collect();
    let mut objects = objects.map_err(|error| Failure::of_call(connection.address(), &error))?;
    // Those without names come last.
    objects.sort_by(|one, other| {
        (one.name.is_none(), &one.name, one.id).cmp(&(other.name.is_none(), &other.name, other.id))
    });
    if options.json {
        return output::json(&objects.iter().map(object_json).collect());
    }
    let mut table =
        output::table(&["NAME", "KIND", "TYPE", "LENGTH", "SIZE", "REFERENCES", "HELD", "WAITING"]);
    for object in &objects {
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
    output::print(&table)
}

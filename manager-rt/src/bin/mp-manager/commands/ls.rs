//! `ls`: lists the objects.

use manager_rt::report::ObjectReport;

use crate::args::Ls;
use crate::failure::Failure;
use crate::look::{object_json, table_of};
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
    // Some engines return an object twice while others are made.
    objects.dedup_by_key(|object| object.id);
    if options.json {
        return output::json(&objects.iter().map(object_json).collect());
    }
    output::print(&table_of("NAME", &objects))
}

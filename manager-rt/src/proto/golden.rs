//! The encoded bytes of every line of the tables, compared with those that earlier builds sent.
//!
//! `tests/golden/protocol.txt` contains each number with the shape of its fields and the bytes of an example, and for
//! each version a hash of everything that the version knows.

mod file;
mod samples;

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::file::{Entry, Golden, hex};
pub(super) use self::samples::{Sample, sample_of, shape_of};
use super::version::{FIRST, NEWEST};
use super::*;
use crate::proto::report::{
    ClientOrigin, ClientReport, LockHolder, ObjectReport, ServerReport, WaitFor, WaitReport,
};
use crate::wire::control::Control;

/// An enum that has a table.
pub(super) trait Numbered: Sized + Serialize {
    /// The name of the table.
    const NAME: &'static str;

    /// Returns what makes an example of each line, in the order of the table.
    fn samples() -> Vec<fn() -> Self>;

    /// Returns the line of the value.
    fn line(&self) -> Line;

    fn retired() -> Vec<u32>;
}

/// A line of a table.
pub(super) struct Line {
    pub(super) number: u32,
    pub(super) since: u16,
    pub(super) name: &'static str,
    /// The types of the fields, and their names if they have any.
    pub(super) fields: Vec<String>,
}

/// The protocol as this build encodes it.
#[derive(Default)]
struct Protocol {
    entries: Vec<Entry>,
    retired: Vec<(&'static str, u32)>,
}

impl Protocol {
    fn table<T: Numbered + DeserializeOwned + PartialEq + fmt::Debug>(&mut self) {
        let mut next = 0..;
        for sample in T::samples() {
            let sample = sample();
            let Line { number, since, name, fields } = sample.line();
            let is_next = next.find(|next| !T::retired().contains(next)) == Some(number);
            assert!(is_next, "the numbers of {} are in order and have no gaps: {name}", T::NAME);
            assert!(since <= NEWEST, "{}::{name} is newer than NEWEST in wire/frame.rs", T::NAME);
            let bytes = postcard::to_allocvec(&sample).unwrap();
            assert_eq!(postcard::from_bytes::<T>(&bytes).unwrap(), sample);
            let fields = if fields.is_empty() { String::new() } else { format!("({})", fields.join(", ")) };
            let (table, name, bytes) = (T::NAME.to_owned(), name.to_owned(), hex(&bytes));
            self.entries.push(Entry {
                table,
                number: Some(number),
                name,
                fields,
                since,
                bytes,
                is_retired: false,
            });
        }
        self.retired.extend(T::retired().into_iter().map(|number| (T::NAME, number)));
    }

    fn fields<T: Sample + Serialize>(&mut self, name: &str, since: u16) {
        self.entries.push(Entry {
            table: name.to_owned(),
            number: None,
            name: name.to_owned(),
            fields: T::shape(),
            since,
            bytes: hex(&postcard::to_allocvec(&T::sample()).unwrap()),
            is_retired: false,
        });
    }

    /// Adds the numbers of the manager that are not operations. Their bytes follow the place, the thread, the wait and
    /// the number of `Op::Manager`.
    fn control(&mut self) {
        let controls = [
            (7, "Cancel", "(call: u64)", Control::Cancel { call: 500 }),
            (8, "Reject", "(call: u64)", Control::Reject { call: 500 }),
            (10, "Ping", "", Control::Ping),
        ];
        for (number, name, fields, control) in controls {
            let bytes = postcard::to_allocvec(&control.sent_by(0)).unwrap();
            self.entries.push(Entry {
                table: <ManagerOp<Payload> as Numbered>::NAME.to_owned(),
                number: Some(number),
                name: name.to_owned(),
                fields: fields.to_owned(),
                since: FIRST,
                bytes: hex(&bytes[4..]),
                is_retired: false,
            });
        }
    }

    fn of_this_build() -> Self {
        let mut protocol = Self::default();
        protocol.fields::<Call<Payload>>("Call", FIRST);
        protocol.fields::<Step<Payload>>("Step", FIRST);
        protocol.table::<Wait>();
        protocol.table::<Op<Payload>>();
        protocol.table::<ManagerOp<Payload>>();
        protocol.control();
        protocol.table::<Spec<Payload>>();
        protocol.table::<ListOp<Payload>>();
        protocol.fields::<Scan<Payload>>("Scan", FIRST);
        protocol.table::<DictOp<Payload>>();
        protocol.table::<Part>();
        protocol.table::<Number>();
        protocol.table::<NamespaceOp<Payload>>();
        protocol.table::<LockOp>();
        protocol.table::<SemaphoreOp>();
        protocol.table::<ConditionOp>();
        protocol.table::<EventOp>();
        protocol.table::<QueueOp<Payload>>();
        protocol.table::<JoinableQueueOp<Payload>>();
        protocol.table::<BarrierOp>();
        protocol.table::<ValueOp<Payload>>();
        protocol.table::<ArrayOp<Payload>>();
        protocol.table::<Reply<Payload>>();
        protocol.fields::<Info>("Info", FIRST);
        protocol.table::<Fault>();
        protocol.table::<Kind>();
        protocol.table::<Table>();
        protocol.table::<Room>();
        protocol.fields::<ServerReport>("ServerReport", 4);
        protocol.fields::<ClientOrigin>("ClientOrigin", 4);
        protocol.fields::<ClientReport>("ClientReport", 4);
        protocol.fields::<LockHolder>("LockHolder", 4);
        protocol.fields::<ObjectReport>("ObjectReport", 4);
        protocol.fields::<WaitReport>("WaitReport", 4);
        protocol.table::<WaitFor>();
        protocol
    }
}

const DECIDE: &str = "\
Peers of other builds read these bytes. Decide which case this is:

1. A number was added at the end of a table, and the newest version was not released yet: write `since NEWEST` with
   that version in the line.
2. A number was added, and the newest version was released: raise NEWEST by one first. Then as in the first case.
3. A number was removed: put it into `retired { .. }` of its table.

In these cases, run `UPDATE_GOLDEN=1 cargo test -p manager-rt --lib golden`, and commit the file.

4. An existing line changed, or its number is used again: a peer of a released version would run another operation, or
   the same one with other values. Restore the line, and add a new one with a new number. Only if a name changed and
   nothing else, change it in the file as well, and delete the schemas.";

#[test]
fn the_protocol_is_that_of_the_golden_file() {
    let protocol = Protocol::of_this_build();
    let golden = Golden::read();
    let known: BTreeMap<_, _> = protocol.entries.iter().map(|entry| (entry.key(), entry)).collect();
    let (mut broken, mut kept) = (Vec::new(), Vec::new());
    for old in &golden.entries {
        let is_retired = old.number.is_some_and(|number| protocol.retired.contains(&(&*old.table, number)));
        match known.get(&old.key()) {
            None if is_retired => kept.push(Entry { is_retired, ..old.clone() }),
            None => broken.push(format!("removed: {old}")),
            Some(new) if old.is_retired => broken.push(format!("used again: {old}\n        now: {new}")),
            Some(new) if *new != old && old.since < NEWEST => {
                broken.push(format!("changed: {old}\n    now: {new}"));
            }
            Some(_) => {}
        }
    }
    let now = Golden::of(protocol.entries.into_iter().chain(kept).collect());
    let released = golden.schemas.iter().filter(|(version, _)| **version < NEWEST);
    let changed = released.filter(|(version, schema)| now.schemas.get(version) != Some(schema));
    let changed = changed.map(|(version, old)| format!("the schema of version {version} was {old}"));
    broken.extend(changed);
    assert!(broken.is_empty(), "the protocol changed:\n\n{}\n\n{DECIDE}", broken.join("\n"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        now.write();
    } else {
        let (now, golden) = (now.to_string(), std::fs::read_to_string(Golden::path()).unwrap_or_default());
        let lines: Vec<_> = now.lines().filter(|line| !golden.lines().any(|old| old == *line)).collect();
        assert!(now == golden, "the protocol changed. New lines:\n\n{}\n\n{DECIDE}", lines.join("\n"));
    }
}

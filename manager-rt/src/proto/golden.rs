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
            assert!(since <= NEWEST, "{}::{name} is newer than NEWEST in proto/version.rs", T::NAME);
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
            (7, "Cancel", "(call: u64)", Control::Cancel { call: 500 }, FIRST),
            (8, "Reject", "(call: u64)", Control::Reject { call: 500 }, FIRST),
            (10, "Ping", "", Control::Ping, FIRST),
            (21, "Taken", "(first: u64, last: u64)", Control::Taken { first: 500, last: 501 }, 5),
        ];
        for (number, name, fields, control, since) in controls {
            let bytes = postcard::to_allocvec(&control.sent_by(0)).unwrap();
            self.entries.push(Entry {
                table: <ManagerOp<Payload> as Numbered>::NAME.to_owned(),
                number: Some(number),
                name: name.to_owned(),
                fields: fields.to_owned(),
                since,
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
        protocol.fields::<ServerReport>("ServerReport", 5);
        protocol.fields::<ClientOrigin>("ClientOrigin", 5);
        protocol.fields::<ClientReport>("ClientReport", 5);
        protocol.fields::<LockHolder>("LockHolder", 5);
        protocol.fields::<ObjectReport>("ObjectReport", 5);
        protocol.fields::<WaitReport>("WaitReport", 5);
        protocol.table::<WaitFor>();
        protocol
    }
}

const DECIDE: &str = "\
Peers of other builds read these bytes. Decide which case this is:

1. A number was added at the end of a table. The versions in the golden file are fixed, since other builds know them: so
   raise NEWEST in proto/version.rs by one, write `since` and that version in the line, and say in `known_to` or in
   client/fallback.rs what a peer gets that does not know it.
2. A number was removed: put it into `retired { .. }` of its table.

In these cases, run `UPDATE_GOLDEN=1 cargo test -p manager-rt --lib golden`, and commit the files. While the newest
version is on your branch only, you may delete its line from the golden file before that, and its recorded client.

3. An existing line changed, or its number is used again: a peer of a released version would run another operation, or
   the same one with other values. Restore the line, and add a new one with a new number. Only if a name changed and
   nothing else, change it in the file as well, and delete the schemas.";

/// Returns what a golden file will contain, or why peers of other builds would not understand this one.
fn compare(golden: &Golden, protocol: Protocol) -> Result<Golden, Vec<String>> {
    let known: BTreeMap<_, _> = protocol.entries.iter().map(|entry| (entry.key(), entry)).collect();
    let (mut broken, mut kept) = (Vec::new(), Vec::new());
    for old in &golden.entries {
        let is_retired = old.number.is_some_and(|number| protocol.retired.contains(&(&*old.table, number)));
        match known.get(&old.key()) {
            None if is_retired => kept.push(Entry { is_retired, ..old.clone() }),
            None => broken.push(format!("removed: {old}")),
            Some(new) if old.is_retired => broken.push(format!("used again: {old}\n        now: {new}")),
            Some(new) if *new != old && golden.schemas.contains_key(&old.since) => {
                broken.push(format!("changed: {old}\n    now: {new}"));
            }
            Some(_) => {}
        }
    }
    let now = Golden::of(protocol.entries.into_iter().chain(kept).collect());
    let changed = golden.schemas.iter().filter(|(version, schema)| now.schemas.get(version) != Some(schema));
    let changed = changed.map(|(version, old)| format!("the schema of version {version} was {old}"));
    broken.extend(changed);
    if broken.is_empty() { Ok(now) } else { Err(broken) }
}

#[test]
fn the_protocol_is_that_of_the_golden_file() {
    let now = compare(&Golden::read(), Protocol::of_this_build());
    let now =
        now.unwrap_or_else(|broken| panic!("the protocol changed:\n\n{}\n\n{DECIDE}", broken.join("\n")));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        now.write();
    } else {
        let (now, golden) = (now.to_string(), std::fs::read_to_string(Golden::path()).unwrap_or_default());
        let lines: Vec<_> = now.lines().filter(|line| !golden.lines().any(|old| old == *line)).collect();
        assert!(now == golden, "the protocol changed. New lines:\n\n{}\n\n{DECIDE}", lines.join("\n"));
    }
}

#[test]
fn a_number_cannot_be_added_to_a_version_that_other_builds_know() {
    for version in FIRST..=NEWEST {
        // What a build had in its golden file that knew one number of this version less.
        let mut older = Golden::of(Protocol::of_this_build().entries);
        let place = older.entries.iter().rposition(|entry| entry.since == version).unwrap();
        let number = older.entries.remove(place);
        let mut older = Golden::of(older.entries);
        older.schemas.retain(|known, _| *known <= version);
        let broken = compare(&older, Protocol::of_this_build()).err();
        assert!(broken.is_some_and(|broken| broken.len() == 1), "{number} is new, and its version is not");
    }
    // A version that the file does not contain may still grow.
    let mut older = Golden::of(Protocol::of_this_build().entries);
    older.entries.retain(|entry| entry.since < NEWEST);
    older.schemas.remove(&NEWEST);
    assert!(compare(&older, Protocol::of_this_build()).is_ok());
}

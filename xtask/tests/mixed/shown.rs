//! `Debug` of every object: its state in one short line, whatever the state is, and whichever process has the object.
//!
//! People read log lines, so a line shows the state of an object in less than 100 characters. Programs write log lines when
//! something goes wrong, so `Debug` waits for no other process. If a new public type is missing here,
//! [`every_object_is_here`] fails.

mod kernel;
mod managers;
mod memory;
mod processes;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;

use mp_sys::line::LINE_CHARS_MAX;
use mp_sys::testing::tests;

tests! {
    every_object_is_here,
    memory_shows_its_state,
    what_others_hold_is_shown_without_waiting,
    messages_and_queues_show_their_state,
    processes_show_their_state,
    managers_and_proxies_show_what_they_are,
    proxies_of_a_server_that_is_gone_are_shown,
}

/// Public types that are not objects: traits, aliases of other types, and plain values with a derived `Debug`.
const NO_OBJECTS: &[&str] = &[
    "Arguments",
    "Crash",
    "Element",
    "Failure",
    "ForkAnyway",
    "GroupEvent",
    "Health",
    "Keep",
    "KindHealth",
    "LockRefused",
    "LockResult",
    "Method",
    "NoDeliveries",
    "NoPipe",
    "Number",
    "OnReturn",
    "Place",
    "Refusal",
    "ReturnValue",
    "SameBytes",
    "Source",
    "Versioned",
    "Wire",
];
const NO_OBJECTS_OF_MANAGERS: &[&str] = &[
    "Backend",
    "Caps",
    "Change",
    "Death",
    "Disinherited",
    "Fault",
    "Grants",
    "Info",
    "Kinds",
    "LockResult",
    "Numeric",
    "OnLost",
    "OpenPipeline",
    "Pending",
    "Recorded",
    "References",
    "SameBytes",
    "SnapshotFault",
    "Storable",
    "Tickets",
    "Validity",
    "Versioned",
    "Versions",
    "WaitGuard",
    "Warning",
    "Wire",
];

/// The types that were shown.
#[derive(Default)]
struct Seen(BTreeSet<String>);

impl Seen {
    /// Checks the text of an object: the name of its type, and then `state` in parentheses.
    fn look(&mut self, object: &dyn Debug, name: &str, state: &str) {
        let shown = format!("{object:?}");
        let expected = if state.is_empty() { name.to_owned() } else { format!("{name}({state})") };
        assert_eq!(shown, expected);
        self.check(object, name);
    }

    /// Checks as [`look`](Self::look) does, for a state that contains numbers that a test does not know.
    fn look_for(&mut self, object: &dyn Debug, name: &str, parts: &[&str]) {
        let shown = format!("{object:?}");
        assert!(shown.starts_with(&format!("{name}(")) && shown.ends_with(')'), "{shown}");
        for part in parts {
            assert!(shown.contains(part), "{part:?} in {shown}");
        }
        self.check(object, name);
    }

    fn check(&mut self, object: &dyn Debug, name: &str) {
        let shown = format!("{object:?}");
        assert_eq!(format!("{object:#?}"), shown, "{{:#?}} has one line as well");
        assert!(shown.chars().count() <= LINE_CHARS_MAX, "{} characters: {shown}", shown.chars().count());
        assert!(!shown.contains(char::is_control), "{shown}");
        assert!(!shown.contains("0x"), "no addresses: {shown}");
        self.0.insert(name.to_owned());
    }
}

fn memory_shows_its_state() {
    memory::states(&mut Seen::default());
}

fn what_others_hold_is_shown_without_waiting() {
    memory::of_others(&mut Seen::default());
}

fn messages_and_queues_show_their_state() {
    kernel::states(&mut Seen::default());
}

fn processes_show_their_state() {
    processes::states(&mut Seen::default());
}

fn managers_and_proxies_show_what_they_are() {
    managers::states(&mut Seen::default());
}

fn proxies_of_a_server_that_is_gone_are_shown() {
    managers::without_a_server(&mut Seen::default());
}

fn every_object_is_here() {
    let (mut seen, mut of_managers) = (Seen::default(), Seen::default());
    memory::states(&mut seen);
    kernel::states(&mut seen);
    processes::states(&mut seen);
    managers::states(&mut of_managers);
    let facade = exported("mp-facade/src/lib.rs");
    assert!(facade.len() > 50, "the list was not found: {facade:?}");
    compare(facade, &seen, NO_OBJECTS);
    compare(exported("manager-rt/src/lib.rs"), &of_managers, NO_OBJECTS_OF_MANAGERS);
}

fn compare(exported: BTreeSet<String>, seen: &Seen, no_objects: &[&str]) {
    for name in no_objects {
        assert!(exported.contains(*name), "{name} is not exported any more");
    }
    let is_object = |name: &String| !name.ends_with("Error") && !no_objects.contains(&&**name);
    let missing: Vec<String> =
        exported.into_iter().filter(|name| is_object(name) && !seen.0.contains(name)).collect();
    assert!(missing.is_empty(), "no case shows {missing:?}");
}

/// Returns the types and traits that the `pub use` lines of a crate name, by the names that users write.
fn exported(file: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut names = BTreeSet::new();
    for statement in text.split("pub use ").skip(1) {
        let list = statement.split(';').next().unwrap();
        for item in list.split([',', '{', '}']) {
            let name = item.rsplit_once(" as ").map_or(item, |(_, name)| name);
            let name = name.rsplit("::").next().unwrap().trim();
            let is_type = name.starts_with(char::is_uppercase) && name.contains(char::is_lowercase);
            if is_type {
                names.insert(name.to_owned());
            }
        }
    }
    names
}

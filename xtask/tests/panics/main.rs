//! The panic matrix: every place where the library calls user code, and what a panic there leaves behind.
//!
//! Two tables:
//!
//! - *entries*: each function that calls a user's closure or trait. It panics there again and again, while a process
//!   and a thread contend for everything involved. These counts must be 0: `hangs` (no other contender went on), `held`
//!   (locks that the thread still holds), `broken` (the object does not work, is poisoned where it must not be, or is
//!   not poisoned where it must be), `leaked` (descriptors, mappings, children).
//! - *pairs*: each object, and two threads that each own a handle of it and hold, drop, forget or fork at the same
//!   time.
//!
//! `cargo test` runs each entry as a test; `--matrix` prints the tables.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the report is the product")]

mod barriers;
mod cell;
mod elements;
mod locks;
mod managers;
mod names;
mod pairs;
mod queues;
mod report;
mod rwlock;
mod starting;
mod telling;
mod trap;

use std::process::ExitCode;

use mp_sys::testing::runner::{self, Test};

/// The tables, in the order of the report.
const TABLES: [&[cell::Cell]; 9] = [
    locks::CELLS,
    barriers::CELLS,
    rwlock::CELLS,
    elements::CELLS,
    names::CELLS,
    queues::CELLS,
    starting::CELLS,
    managers::CELLS,
    telling::CELLS,
];

fn entries_of_locks() {
    report::assert_clean(locks::CELLS);
}

fn entries_of_barriers() {
    report::assert_clean(barriers::CELLS);
}

fn entries_of_rwlocks() {
    report::assert_clean(rwlock::CELLS);
}

fn entries_of_elements() {
    report::assert_clean(elements::CELLS);
}

fn entries_of_names() {
    report::assert_clean(names::CELLS);
}

fn entries_of_queues_and_pipes() {
    report::assert_clean(queues::CELLS);
}

fn entries_of_starting() {
    report::assert_clean(starting::CELLS);
}

fn entries_of_managers() {
    report::assert_clean(managers::CELLS);
}

fn subscribers() {
    report::assert_clean(telling::CELLS);
}

fn pairs_of_threads() {
    pairs::assert_clean();
}

mp_sys::testing::tests! {
    entries_of_locks,
    entries_of_barriers,
    entries_of_rwlocks,
    entries_of_elements,
    entries_of_names,
    entries_of_queues_and_pipes,
    entries_of_starting,
    entries_of_managers,
    subscribers,
    pairs_of_threads,
}

fn main() -> ExitCode {
    let tests: &[Test] = TESTS;
    if std::env::args().nth(1).as_deref() == Some("--matrix") {
        return report::main(&TABLES);
    }
    runner::main(tests, mp::release_unused_memory)
}

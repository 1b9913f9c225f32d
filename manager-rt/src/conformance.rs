//! What every backend must do, as tests that work on any number of clients of one manager.
//!
//! A backend implements [`Fixture`] and runs [`all`], each test with a new manager. The tests know no more of a backend
//! than [`Backend`](crate::Backend) and [`Caps`](crate::Caps) provide. A test panics if the backend is wrong, and waits
//! for nothing longer than [`PATIENCE`].
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![cfg_attr(
    not(test),
    expect(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "a test fails by a panic")
)]

mod array;
mod barrier;
mod batch;
mod borrowed;
mod condition;
mod dict;
mod event;
mod joinable_queue;
mod list;
mod lock;
mod names;
mod namespace;
mod queue;
mod rlock;
mod semaphore;
mod travel;
mod value;

use std::time::{Duration, Instant};

use crate::Manager;

/// How long a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long a test waits for something that must not happen.
const MOMENT: Duration = Duration::from_millis(20);

/// A manager without objects, and a way to become its client.
pub trait Fixture: Sync {
    /// Connects one more client of the manager.
    fn client(&self) -> Manager;

    /// Ends a client of this fixture as the death of its process would, even while its calls wait. The proxies that it
    /// made are dropped later.
    fn kill(&self, client: &Manager);
}

/// The name of a test, and the test.
pub type Test = (&'static str, fn(&dyn Fixture));

/// Returns all tests.
#[must_use]
pub fn all() -> Vec<Test> {
    [
        array::TESTS,
        barrier::TESTS,
        batch::TESTS,
        borrowed::TESTS,
        condition::TESTS,
        dict::TESTS,
        event::TESTS,
        joinable_queue::TESTS,
        list::TESTS,
        lock::TESTS,
        names::TESTS,
        namespace::TESTS,
        queue::TESTS,
        rlock::TESTS,
        semaphore::TESTS,
        travel::TESTS,
        value::TESTS,
    ]
    .concat()
}

/// Lists tests, named after their functions.
macro_rules! tests {
    ($($test:ident),+ $(,)?) => {
        pub(super) const TESTS: &[crate::conformance::Test] =
            &[$((concat!(module_path!(), "::", stringify!($test)), $test)),+];
    };
}

use tests;

/// Waits until a condition holds.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::yield_now();
    }
}

/// Waits until this many calls wait at the manager.
#[track_caller]
fn until_waiting(client: &Manager, waiters: u64) {
    until("the wait", || client.info().unwrap().waiters == waiters);
}

//! The objects of a manager in a private Redis server.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic")]

mod alike;
mod faults;
mod server;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use manager_rt::Manager;
use manager_rt::conformance::{self, Fixture};

use crate::server::Server;

/// A namespace of a server.
struct There<'a> {
    server: &'a Server,
    namespace: u64,
}

static NAMESPACES: AtomicU64 = AtomicU64::new(0);

impl<'a> There<'a> {
    fn new(server: &'a Server) -> Self {
        Self { server, namespace: NAMESPACES.fetch_add(1, Ordering::Relaxed) }
    }

    fn url(&self) -> String {
        self.server.url(&format!("test{}", self.namespace))
    }

    fn connect(&self) -> Manager {
        Manager::connect(&self.url()).unwrap()
    }
}

impl Fixture for There<'_> {
    fn client(&self) -> Manager {
        self.connect()
    }

    /// Nothing can be held, so a death changes nothing for others.
    fn kill(&self, _client: &Manager) {}

    /// No call waits.
    fn waiting(&self) -> u64 {
        0
    }

    fn objects(&self) -> u64 {
        self.client().info().unwrap().objects
    }

    fn death_bound(&self) -> Duration {
        Duration::ZERO
    }
}

#[test]
fn redis_does_what_every_backend_must() {
    let server = Server::start(&[]);
    let caps = There::new(&server).caps();
    let mut tests = conformance::all();
    tests.retain(|test| test.applies_to(&caps));
    let mut failed = Vec::new();
    for test in &tests {
        let run = || test.run(&There::new(&server));
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
            failed.push(test.name);
        }
    }
    assert!(failed.is_empty(), "{failed:#?} of {} failed", tests.len());
    assert!(tests.len() > 50);
}

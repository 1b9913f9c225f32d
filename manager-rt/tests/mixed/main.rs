//! Managers whose queues are in a private RabbitMQ server, and whose other objects are in a private Redis server.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic")]

mod both;
mod counts;
#[path = "../rabbitmq/cutter.rs"]
mod cutter;
mod faults;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use manager_rt::Manager;
use manager_rt::conformance::{self, Fixture, MixedClient};

use crate::both::Both;

/// A namespace of both servers.
struct There {
    url: String,
    observer: OnceLock<Manager>,
    clients: Mutex<Vec<Arc<MixedClient>>>,
}

impl There {
    fn new(both: &Both) -> Self {
        Self { url: both.url(), observer: OnceLock::new(), clients: Mutex::default() }
    }

    fn clients(&self) -> Vec<Arc<MixedClient>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn info(&self) -> manager_rt::Info {
        self.observer.get_or_init(|| Manager::connect(&self.url).unwrap()).info().unwrap()
    }
}

impl Fixture for There {
    fn client(&self) -> Manager {
        let client = Arc::new(MixedClient::connect(&self.url));
        let manager = client.manager();
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).push(client);
        manager
    }

    fn kill(&self, client: &Manager) {
        self.clients().iter().find(|known| known.is_of(client)).unwrap().disconnect();
    }

    fn waiting(&self) -> u64 {
        self.info().waiters + self.clients().iter().map(|client| client.waiting()).sum::<u64>()
    }

    fn objects(&self) -> u64 {
        self.info().objects
    }

    fn death_bound(&self) -> Duration {
        Duration::from_secs(30)
    }
}

#[test]
fn both_servers_together_do_what_every_backend_must() {
    let both = Both::start();
    let caps = There::new(&both).caps();
    let mut tests = conformance::all();
    tests.retain(|test| test.applies_to(&caps));
    let mut failed = Vec::new();
    for test in &tests {
        let run = || test.run(&There::new(&both));
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
            failed.push(test.name);
        }
    }
    assert!(failed.is_empty(), "{failed:#?} of {} failed", tests.len());
    assert!(tests.len() > 70);
}

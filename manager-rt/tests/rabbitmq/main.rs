//! The queues of a manager in private RabbitMQ servers.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

#[expect(dead_code, reason = "other tests use the rest")]
mod cutter;
mod deaths;
#[cfg(feature = "rabbitmq-tls")]
mod encrypted;
mod faults;
mod kills;
mod reach;
mod server;
mod tasks;
mod traps;
mod workers;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use manager_rt::Manager;
use manager_rt::conformance::{self, Fixture, RabbitMqClient};

use crate::server::{Server, namespace, shared};

/// A namespace of a server.
struct There {
    url: String,
    clients: Mutex<Vec<Arc<RabbitMqClient>>>,
}

impl There {
    fn new(server: &Server) -> Self {
        Self { url: server.url(&namespace()), clients: Mutex::default() }
    }

    fn clients(&self) -> Vec<Arc<RabbitMqClient>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Fixture for There {
    fn client(&self) -> Manager {
        let client = Arc::new(RabbitMqClient::connect(&self.url));
        let manager = client.manager();
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).push(client);
        manager
    }

    /// The keeper of the client does what it does if the process dies.
    fn kill(&self, client: &Manager) {
        self.clients().iter().find(|known| known.is_of(client)).unwrap().disconnect();
    }

    fn waiting(&self) -> u64 {
        self.clients().iter().map(|client| client.waiting()).sum()
    }

    /// Nobody counts them.
    fn objects(&self) -> u64 {
        0
    }

    fn death_bound(&self) -> Duration {
        Duration::from_secs(30)
    }
}

#[test]
fn rabbitmq_does_what_every_backend_must() {
    let caps = There::new(shared()).caps();
    let mut tests = conformance::all();
    tests.retain(|test| test.applies_to(&caps));
    let mut failed = Vec::new();
    for test in &tests {
        let run = || test.run(&There::new(shared()));
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
            failed.push(test.name);
        }
    }
    assert!(failed.is_empty(), "{failed:#?} of {} failed", tests.len());
    assert!(tests.len() > 15);
}

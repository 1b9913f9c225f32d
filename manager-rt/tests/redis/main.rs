//! The objects of a manager in a private Redis server.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic")]

mod alike;
mod barriers;
mod cut;
mod cutter;
mod deaths;
#[cfg(feature = "redis-tls")]
mod encrypted;
mod failovers;
mod faults;
mod lines;
mod queues;
mod restarts;
mod server;
mod steps;
mod stopped;
mod tasks;
mod transactions;
mod traps;
mod unsure;
mod warnings;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use manager_rt::conformance::{self, Fixture};
use manager_rt::limits::LEASE_DEFAULT;
use manager_rt::{Manager, Redis};

use crate::server::Server;

/// A namespace of a server.
struct There<'a> {
    server: &'a Server,
    namespace: u64,
    observer: OnceLock<Manager>,
    clients: Mutex<Vec<Weak<Redis>>>,
}

static NAMESPACES: AtomicU64 = AtomicU64::new(0);

impl<'a> There<'a> {
    fn new(server: &'a Server) -> Self {
        let namespace = NAMESPACES.fetch_add(1, Ordering::Relaxed);
        Self { server, namespace, observer: OnceLock::new(), clients: Mutex::default() }
    }

    fn namespace(&self) -> String {
        format!("test{}", self.namespace)
    }

    fn url(&self) -> String {
        self.server.url(&self.namespace())
    }

    fn leased(&self, lease: &str) -> String {
        let (socket, namespace) = self.server.url(&self.namespace()).split_once('?').map(owned).unwrap();
        format!("{socket}?lease={lease}&{namespace}")
    }

    fn connect(&self) -> Manager {
        Manager::connect(&self.url()).unwrap()
    }
}

fn owned((one, other): (&str, &str)) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

impl There<'_> {
    fn info(&self) -> manager_rt::Info {
        self.observer.get_or_init(|| self.connect()).info().unwrap()
    }
}

impl Fixture for There<'_> {
    fn client(&self) -> Manager {
        let client = conformance::redis_client(&self.url());
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&client));
        Manager::with(client)
    }

    /// The keeper of the client does what it does if the process dies.
    fn kill(&self, client: &Manager) {
        let wanted = Arc::as_ptr(client.backend()).cast::<()>();
        let known = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let mut alive = known.iter().filter_map(Weak::upgrade);
        alive.find(|client| Arc::as_ptr(client).cast::<()>() == wanted).unwrap().disconnect();
    }

    fn waiting(&self) -> u64 {
        self.info().waiters
    }

    fn objects(&self) -> u64 {
        self.info().objects
    }

    fn death_bound(&self) -> Duration {
        LEASE_DEFAULT
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
    assert!(tests.len() > 70);
}

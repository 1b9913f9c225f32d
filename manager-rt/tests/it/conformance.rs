//! The conformance tests, run on the state machine in this process, on a server process, and on a backend that was
//! written outside of the crate.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use manager_rt::conformance::{self, Fixture};
use manager_rt::proto::Kind;
use manager_rt::{Backend, Caps, Death, InProcess, Kinds, Manager};
use mp_sys::testing::eventually;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Signal, kill_process};

use crate::relay::Relay;
use crate::restricted::Restricted;

/// The backends of the clients of a fixture.
struct Known<B: ?Sized, X>(Mutex<Vec<(Weak<B>, X)>>);

impl<B: Backend + ?Sized, X> Known<B, X> {
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn add(&self, backend: &Arc<B>, more: X) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(backend, _)| backend.strong_count() > 0);
        known.push((Arc::downgrade(backend), more));
    }

    /// Finds the backend of a client.
    fn with<R>(&self, client: &Manager, look: impl FnOnce(&B, &X) -> R) -> R {
        let wanted = Arc::as_ptr(client.backend()).cast::<()>();
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut alive = known.iter().filter_map(|(backend, more)| Some((backend.upgrade()?, more)));
        let (backend, more) = alive.find(|(backend, _)| Arc::as_ptr(backend).cast::<()>() == wanted).unwrap();
        look(&backend, more)
    }
}

/// Clients of one manager in this process.
struct Here {
    manager: InProcess,
    observer: Manager,
    clients: Known<InProcess, ()>,
}

impl Here {
    fn new() -> Self {
        let manager = InProcess::new().unwrap();
        let observer = Manager::with(Arc::new(manager.another_client().unwrap()));
        Self { manager, observer, clients: Known::new() }
    }
}

impl Fixture for Here {
    fn client(&self) -> Manager {
        let client = Arc::new(self.manager.another_client().unwrap());
        self.clients.add(&client, ());
        Manager::with(client)
    }

    fn kill(&self, client: &Manager) {
        self.clients.with(client, |backend, ()| backend.disconnect());
    }

    fn waiting(&self) -> u64 {
        self.observer.info().unwrap().waiters
    }

    fn objects(&self) -> u64 {
        self.observer.info().unwrap().objects
    }

    fn death_bound(&self) -> Duration {
        Duration::ZERO
    }
}

/// Connections to one server process, each through a relay that can end it.
struct There {
    path: PathBuf,
    server: Mutex<Manager>,
    clients: Known<dyn Backend, Relay>,
    _folder: tempfile::TempDir,
}

const KEY: &str = "the key of the server";

impl There {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server");
        let server = Mutex::new(Self::start(&path));
        Self { path, server, clients: Known::new(), _folder: folder }
    }

    fn start(path: &std::path::Path) -> Manager {
        Manager::builder().path(path).key(KEY).start().unwrap()
    }

    fn server(&self) -> Manager {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Fixture for There {
    fn client(&self) -> Manager {
        let relay = Relay::at(&self.path, KEY.into());
        let client = relay.client();
        self.clients.add(client.backend(), relay);
        client
    }

    fn kill(&self, client: &Manager) {
        self.clients.with(client, |_, relay| relay.cut());
    }

    fn waiting(&self) -> u64 {
        self.server().info().unwrap().waiters
    }

    fn objects(&self) -> u64 {
        self.server().info().unwrap().objects
    }

    fn death_bound(&self) -> Duration {
        Duration::ZERO
    }

    /// Kills the server, and starts another one at its path.
    fn fail_over(&self) -> bool {
        let old = self.server();
        let socket = std::os::unix::net::UnixStream::connect(&self.path).unwrap();
        kill_process(socket_peercred(&socket).unwrap().pid, Signal::KILL).unwrap();
        eventually("the server is gone", || old.names().is_err());
        // Reaps the process.
        assert!(old.shutdown().is_err());
        *self.server.lock().unwrap() = Self::start(&self.path);
        true
    }
}

impl Drop for There {
    fn drop(&mut self) {
        self.server().shutdown().unwrap();
    }
}

/// Clients of one manager in this process, through a backend that was written here.
struct Elsewhere {
    here: Here,
    caps: Caps,
    clients: Known<Restricted, ()>,
}

impl Elsewhere {
    fn new(caps: impl FnOnce(Caps) -> Caps) -> Self {
        let here = Here::new();
        let caps = caps(here.manager.caps());
        Self { here, caps, clients: Known::new() }
    }
}

impl Fixture for Elsewhere {
    fn client(&self) -> Manager {
        let client = self.here.manager.another_client().unwrap();
        let client = Arc::new(Restricted::new(client, self.caps));
        self.clients.add(&client, ());
        Manager::with(client)
    }

    fn kill(&self, client: &Manager) {
        self.clients.with(client, |backend, ()| backend.kill());
    }

    fn waiting(&self) -> u64 {
        self.here.waiting()
    }

    fn objects(&self) -> u64 {
        self.here.objects()
    }

    fn death_bound(&self) -> Duration {
        match self.caps.death {
            Death::Within(bound) => bound,
            _ => Duration::ZERO,
        }
    }
}

/// Runs all tests that apply to a backend, and returns their number.
fn run_all(fixture: impl Fn() -> Box<dyn Fixture>) -> usize {
    let caps = fixture().caps();
    let mut tests = conformance::all();
    tests.retain(|test| test.applies_to(&caps));
    for test in &tests {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test.run(&*fixture())));
        assert!(outcome.is_ok(), "{} failed", test.name);
    }
    tests.len()
}

#[test]
fn the_state_machine_does_what_every_backend_must() {
    assert_eq!(run_all(|| Box::new(Here::new())), conformance::all().len());
}

#[test]
fn a_server_process_does_what_every_backend_must() {
    assert_eq!(run_all(|| Box::new(There::new())), conformance::all().len());
}

#[test]
fn a_backend_of_another_crate_does_what_it_promises() {
    assert_eq!(run_all(|| Box::new(Elsewhere::new(|caps| caps))), conformance::all().len());
}

#[test]
fn a_backend_that_promises_little_does_that() {
    let little = |_| {
        let death = Death::Within(Duration::from_millis(30));
        Caps::new("little").kinds(Kinds::ALL).death(death).value_bytes_max(1 << 20)
    };
    assert_eq!(run_all(|| Box::new(Elsewhere::new(little))), conformance::all().len());
}

#[test]
fn a_backend_with_queues_only_does_what_it_promises() {
    let queues = |caps: Caps| caps.kinds(Kinds::of(&[Kind::Queue, Kind::JoinableQueue]));
    assert!(run_all(|| Box::new(Elsewhere::new(queues))) > 10);
}

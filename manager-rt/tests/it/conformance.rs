//! The conformance tests, run on the state machine in this process and on a server process.

use manager_rt::conformance::{self, Fixture};
use manager_rt::{InProcess, Manager};

/// Clients of one manager in this process.
struct Here(InProcess);

impl Fixture for Here {
    fn client(&self) -> Manager {
        Manager::with(std::sync::Arc::new(self.0.another_client().unwrap()))
    }

    fn kill(&self, client: &Manager) {
        client.backend().sever();
    }
}

/// Connections to one server process.
struct There(Manager);

impl Fixture for There {
    fn client(&self) -> Manager {
        Manager::connect(&self.0.address().unwrap()).unwrap()
    }

    fn kill(&self, client: &Manager) {
        client.backend().sever();
    }
}

impl Drop for There {
    fn drop(&mut self) {
        self.0.shutdown().unwrap();
    }
}

fn run_all(fixture: impl Fn() -> Box<dyn Fixture>) {
    let tests = conformance::all();
    assert!(!tests.is_empty());
    for (name, test) in tests {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&*fixture())));
        assert!(outcome.is_ok(), "{name} failed");
    }
}

#[test]
fn the_state_machine_does_what_every_backend_must() {
    run_all(|| Box::new(Here(InProcess::new().unwrap())));
}

#[test]
fn a_server_process_does_what_every_backend_must() {
    run_all(|| Box::new(There(Manager::start().unwrap())));
}

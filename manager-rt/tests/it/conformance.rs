//! What every backend must do, done by the state machine in this process.

use std::sync::{Arc, Mutex, Weak};

use manager_rt::conformance::{self, Fixture};
use manager_rt::{InProcess, Manager};

/// Clients of one manager in this process.
struct Clients {
    first: InProcess,
    others: Mutex<Vec<Weak<InProcess>>>,
}

impl Fixture for Clients {
    fn client(&self) -> Manager {
        let client = Arc::new(self.first.another_client().unwrap());
        self.others.lock().unwrap().push(Arc::downgrade(&client));
        Manager::with(client)
    }

    fn kill(&self, client: &Manager) {
        let killed = Arc::as_ptr(client.backend()).addr();
        let others = self.others.lock().unwrap();
        let found = others.iter().find(|other| other.as_ptr().addr() == killed);
        found.unwrap().upgrade().unwrap().disconnect();
    }
}

#[test]
fn the_state_machine_does_what_every_backend_must() {
    let tests = conformance::all();
    assert!(!tests.is_empty());
    for (name, test) in tests {
        let started = std::time::Instant::now();
        test(&Clients { first: InProcess::new().unwrap(), others: Mutex::default() });
        println!("{name}: {:?}", started.elapsed());
    }
}

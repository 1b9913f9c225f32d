//! Objects of a manager: clients of its server killed while they hold something, wait, were just served, or are in a call.
//!
//! Nobody looks for the dead here: the kernel closes a dead client's socket, and the server does the rest. So what must not
//! be left is at the server: at the end of a cell nothing is held, nothing waits, and the only client is this process.

pub(crate) mod locks;
pub(crate) mod meeting;
pub(crate) mod permits;
pub(crate) mod queues;
pub(crate) mod tasks;
pub(crate) mod values;

use manager_rt::Manager;
use manager_rt::proto::Info;
use mp_sys::deadline::Deadline;

use crate::cell::{HANG, Outcome};

/// The longest that a victim works before it is killed, in nanoseconds.
const MOMENT_MAX: u64 = 400_000;

/// Runs a cell with a manager of its own.
fn with_manager(run: impl FnOnce(&Manager, &mut Outcome)) -> Outcome {
    let manager = Manager::start().unwrap();
    let mut out = Outcome::default();
    run(&manager, &mut out);
    let is_idle = settles(&manager, |info| (info.clients, info.waiters, info.held) == (1, 0, 0));
    if !is_idle {
        eprintln!("the dead are not forgotten: {:?}", manager.info());
        out.hangs += 1;
    }
    manager.shutdown().unwrap();
    out
}

/// Waits until the manager says this of itself; `false` if it does not.
fn settles(manager: &Manager, is_so: impl Fn(Info) -> bool) -> bool {
    let deadline = Deadline::after(HANG);
    while !is_so(manager.info().unwrap()) {
        if deadline.has_passed() {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

/// Waits until so many calls wait.
fn until_waiting(manager: &Manager, count: u64) {
    assert!(settles(manager, |info| info.waiters == count), "{count} wait: {:?}", manager.info());
}

/// Waits until so much is held.
fn until_held(manager: &Manager, count: u64) {
    assert!(settles(manager, |info| info.held == count), "{count} are held: {:?}", manager.info());
}

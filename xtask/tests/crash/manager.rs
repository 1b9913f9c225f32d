//! Objects of a manager: its clients are killed while they hold something, while they wait, right after they were
//! served, or in a call.
//!
//! No process looks for the dead here: the kernel closes a dead client's socket, and the server does the rest. So the
//! server must have nothing left: at the end of a cell nothing is held, nothing waits, and the only client is this
//! process.

pub(crate) mod inherited;
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
pub(crate) const MOMENT_MAX: u64 = 400_000;

/// Runs a cell with its own manager.
pub(crate) fn with_manager(run: impl FnOnce(&Manager, &mut Outcome)) -> Outcome {
    let manager = Manager::start().unwrap();
    let mut out = Outcome::default();
    run(&manager, &mut out);
    let is_idle = settles(&manager, |info| (info.clients, info.waiters, info.held) == (1, 0, 0));
    if !is_idle {
        eprintln!("the manager still keeps something of the dead: {:?}", manager.info());
        out.hangs += 1;
    }
    manager.shutdown().unwrap();
    out
}

/// Waits until the manager's state is so; returns `false` if it does not become so.
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

/// Waits until this many calls wait.
pub(crate) fn until_waiting(manager: &Manager, count: u64) {
    assert!(settles(manager, |info| info.waiters == count), "{count} wait: {:?}", manager.info());
}

/// Waits until this much is held.
pub(crate) fn until_held(manager: &Manager, count: u64) {
    assert!(settles(manager, |info| info.held == count), "{count} are held: {:?}", manager.info());
}

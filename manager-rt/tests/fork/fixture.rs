//! A started manager, what can be seen of it from outside, and a check that nothing of it is left.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use manager_rt::Manager;
use manager_rt::proto::Info;
use mp_sys::deadline::Deadline;
use mp_sys::testing::{PATIENCE, eventually, is_in_state};
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Runs a test with a manager. Then checks that the processes of the test released everything, and that neither the
/// server nor its folder is left.
pub(crate) fn with_manager(body: impl FnOnce(&Manager)) {
    let manager = Manager::start().unwrap();
    let place = Place::of(&manager);
    body(&manager);
    until(&manager, "everything is released", |info| (info.clients, info.waiters, info.held) == (1, 0, 0));
    manager.shutdown().unwrap();
    drop(manager);
    place.is_gone();
}

/// The location of a server, for inspection from outside.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) socket: PathBuf,
    pub(crate) server: Pid,
}

impl Place {
    pub(crate) fn of(manager: &Manager) -> Self {
        Self::at(&manager.address().unwrap())
    }

    /// Finds the server at an address. Its socket tells which process it is.
    pub(crate) fn at(address: &str) -> Self {
        let socket = PathBuf::from(address.strip_prefix("mp+unix:").unwrap());
        let server = socket_peercred(UnixStream::connect(&socket).unwrap()).unwrap().pid;
        Self { socket, server }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.socket.parent().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.server, signal).unwrap();
    }

    /// Waits until the server, its socket and its folder are gone.
    pub(crate) fn is_gone(&self) {
        eventually("the server has ended", || has_ended(self.server));
        eventually("its folder is gone", || !self.folder().exists());
    }
}

/// Returns `true` if a process has ended, or waits to be reaped.
fn has_ended(process: Pid) -> bool {
    test_kill_process(process).is_err() || is_in_state(process, 'Z')
}

/// Waits until the manager's information is as expected.
#[track_caller]
pub(crate) fn until(manager: &Manager, what: &str, is_so: impl Fn(Info) -> bool) {
    let deadline = Deadline::after(PATIENCE);
    loop {
        let info = manager.info().unwrap();
        if is_so(info) {
            return;
        }
        assert!(!deadline.has_passed(), "waited {PATIENCE:?} until {what}: {info:?}");
        std::thread::yield_now();
    }
}

/// Waits until this many calls wait at the manager.
#[track_caller]
pub(crate) fn until_waiting(manager: &Manager, count: u64) {
    until(manager, "the calls wait", |info| info.waiters == count);
}

/// Waits until this much is held.
#[track_caller]
pub(crate) fn until_held(manager: &Manager, count: u64) {
    until(manager, "it is held", |info| info.held == count);
}

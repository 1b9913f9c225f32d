//! Servers in separate processes.

#[cfg(feature = "tcp")]
mod remote;

use super::*;
use crate::proto::{ManagerOp, Reply};
use crate::registry::beside::key_beside;
use crate::state::Limits;
use crate::tests::plain_client::Client;

fn start() -> ServerProcess {
    ServerProcess::start(Order::new(None, None, Limits::default(), None).unwrap()).unwrap()
}

fn connect(process: &ServerProcess) -> Client {
    Client::connect(process.address().path().unwrap(), process.key().as_bytes()).unwrap()
}

fn folder_of(process: &ServerProcess) -> std::path::PathBuf {
    process.address().path().unwrap().parent().unwrap().to_owned()
}

#[test]
fn a_server_serves_until_a_client_ends_it() {
    let process = start();
    let mut client = connect(&process);
    client.ping();
    assert!(Client::connect(process.address().path().unwrap(), b"").is_none(), "a wrong key is refused");
    assert_eq!(key_beside(process.address().path().unwrap()).as_ref(), Some(process.key()));
    assert_eq!(client.manager(ManagerOp::Shutdown), Ok(Reply::Done));
    process.join().unwrap();
    assert_eq!(process.child.wait(Deadline::NEVER).unwrap(), Some(Ended::Exited(0)));
    assert!(!folder_of(&process).exists());
}

#[test]
fn signals_that_end_a_program_do_not_end_its_server() {
    let process = start();
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM] {
        process.child.signal(signal.as_raw()).unwrap();
        connect(&process).ping();
    }
    process.kill();
}

#[test]
fn the_files_of_a_killed_server_are_removed() {
    let process = start();
    let client = connect(&process);
    process.child.signal(Signal::KILL.as_raw()).unwrap();
    client.expect_end();
    process.join().unwrap();
    assert!(!folder_of(&process).exists());
}

/// A server of another build is used, and not replaced.
#[test]
fn a_server_of_an_older_build_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manager.sock");
    let server = crate::Server::builder().of_version(3).bind(&path).unwrap();
    let stopper = server.stopper();
    std::thread::scope(|scope| {
        let serves = std::thread::Builder::new().spawn_scoped(scope, || server.serve()).unwrap();
        let manager = crate::Manager::builder().path(&path).connect_or_start().unwrap();
        assert_eq!(manager.named("one").value(&1_u8).unwrap().get(), Ok(1));
        stopper.stop();
        serves.join().unwrap().unwrap();
    });
}

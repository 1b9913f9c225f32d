//! A server that saves its objects for the last time: who ends it waits, and who connects hears at once what happens.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::Instant;

use mp_sys::testing::{eventually, is_in_state};
use rustix::process::{Signal, kill_process};

use crate::keeping::{children_of, fill, filled, pid, stopped_snapshot, value_in};
use crate::program::{DEADLINE, KEY, Output, Place, Server, ended, mp_manager, run};

/// Returns a command at an address of a server. Only servers with a port have a key here.
fn command(server: &Server, address: usize, arguments: &[&str]) -> Command {
    let mut command = mp_manager(arguments);
    command.env("MP_MANAGER", &server.addresses[address]);
    if server.addresses.len() > 1 {
        command.env("MP_MANAGER_KEY_FILE", server.place.path("key"));
    }
    command
}

/// Runs a command while the test goes on.
fn begin(mut command: Command) -> Receiver<Output> {
    let (sender, outcome) = channel();
    // The test may have failed.
    drop(thread::Builder::new().spawn(move || drop(sender.send(run(&mut command)))).unwrap());
    outcome
}

/// Waits until a server says that it is ending. A command that has connected just before waits in vain for its answer, for 30 s.
fn until_ending(server: &Server) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let listed = run(&mut command(server, 0, &["ls"]));
        match listed.code {
            Some(0) => {}
            Some(5) => listed.refused(5, &[&server.addresses[0], "did not answer"]),
            _ => {
                return listed.refused(3, &[&server.addresses[0], "is ending", "mp-manager shutdown"]);
            }
        }
        assert!(Instant::now() < deadline, "it is not ending: {listed:?}");
    }
}

/// Starts a server that keeps its objects in the file `kept`, and is reached at a socket and at a port.
fn keeping() -> Server {
    let place = Place::new();
    let [socket, key, kept] = ["sock", "key", "kept"].map(|name| place.text(name));
    let options = ["serve", "--socket", &socket, "--tcp", "127.0.0.1:0", "--key-file", &key, "--keep", &kept];
    let server = Server::start(place, mp_manager(options));
    fill(&server.manager());
    server
}

#[track_caller]
fn still_waits(outcome: &Receiver<Output>) {
    assert!(matches!(outcome.try_recv(), Err(TryRecvError::Empty)), "the server has not ended");
}

#[test]
fn shutdowns_return_when_everything_is_saved() {
    let place = Place::new();
    let kept = place.text("kept");
    let mut server = filled(place, &["--keep", &kept]);
    // The server waits for this one, which replaces the same file, and then saves.
    let (mut snapshot, writer) = stopped_snapshot(&server, &kept);
    let first = begin(command(&server, 0, &["shutdown"]));
    until_ending(&server);
    // Those that come later wait for the same end.
    let second = begin(command(&server, 0, &["shutdown"]));
    let texts = [&server.addresses[0], "within 50ms", "still saving"];
    run(&mut command(&server, 0, &["shutdown", "--timeout", "50ms"])).refused(5, &texts);
    still_waits(&first);
    still_waits(&second);
    kill_process(pid(writer), Signal::CONT).unwrap();
    for outcome in [first, second] {
        outcome.recv_timeout(DEADLINE).unwrap().printed("");
    }
    assert!(ended(&mut snapshot).success(), "it is told before the server ends");
    assert_eq!(ended(&mut server.child).code(), Some(0));
    assert_eq!(value_in(kept.as_ref()), Some(4));
}

/// Ends a server, and stops the process that writes its objects. Returns the server, the command that ends it, and that process.
fn stopped_end() -> (Server, Receiver<Output>, u32) {
    loop {
        let mut server = keeping();
        let shutdown = begin(command(&server, 0, &["shutdown"]));
        let is_stopped = |writer: u32| is_in_state(writer, 'T');
        let has_ended =
            |writer: u32| is_in_state(writer, 'Z') || !Path::new(&format!("/proc/{writer}")).exists();
        while server.child.try_wait().unwrap().is_none() {
            let Some(writer) = children_of(&server).into_iter().next() else { continue };
            if kill_process(pid(writer), Signal::STOP).is_err() {
                continue;
            }
            eventually("it is stopped", || is_stopped(writer) || has_ended(writer));
            if is_stopped(writer) {
                return (server, shutdown, writer);
            }
        }
        shutdown.recv_timeout(DEADLINE).unwrap().printed("");
    }
}

#[test]
fn every_command_beside_a_server_that_saves_at_its_end_says_so() {
    let (mut server, shutdown, writer) = stopped_end();
    let file = server.place.text("file");
    for arguments in [
        &["ls"][..],
        &["top", "--once"],
        &["inspect", "x"],
        &["get", "x"],
        &["set", "x", "5"],
        &["rm", "x"],
        &["snapshot", &file],
    ] {
        run(&mut command(&server, 0, arguments)).refused(3, &[&server.addresses[0], "is ending"]);
    }
    still_waits(&shutdown);
    kill_process(pid(writer), Signal::CONT).unwrap();
    shutdown.recv_timeout(DEADLINE).unwrap().printed("");
    assert_eq!(ended(&mut server.child).code(), Some(0));
    assert_eq!(value_in(&server.place.path("kept")), Some(4));
}

#[test]
fn other_hosts_hear_that_a_server_is_ending() {
    let (mut server, shutdown, writer) = stopped_end();
    server.place.write_key("wrong", &KEY.to_uppercase());
    let remote = |key| run(command(&server, 1, &["ls"]).env("MP_MANAGER_KEY_FILE", server.place.path(key)));
    remote("key").refused(3, &[&server.addresses[1], "is ending"]);
    remote("wrong").refused(3, &[&server.addresses[1], "another key"]);
    let other = begin(command(&server, 1, &["shutdown"]));
    still_waits(&shutdown);
    kill_process(pid(writer), Signal::CONT).unwrap();
    for outcome in [shutdown, other] {
        outcome.recv_timeout(DEADLINE).unwrap().printed("");
    }
    assert_eq!(ended(&mut server.child).code(), Some(0));
}

#[test]
fn the_objects_are_saved_although_the_process_that_writes_them_is_killed() {
    let (mut server, shutdown, writer) = stopped_end();
    kill_process(pid(writer), Signal::KILL).unwrap();
    shutdown.recv_timeout(DEADLINE).unwrap().printed("");
    assert_eq!(ended(&mut server.child).code(), Some(0));
    assert_eq!(value_in(&server.place.path("kept")), Some(4));
}

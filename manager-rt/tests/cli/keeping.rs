//! `serve --keep` and `--restore`, `snapshot`, and a `shutdown` that waits until everything is saved.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use manager_rt::Manager;
use mp_sys::testing::{eventually, is_in_state};
use rustix::process::{Pid, Signal, kill_process};

use crate::program::{DEADLINE, Place, Server, ended, mp_manager, run};

fn serve(place: Place, options: &[&str]) -> Server {
    let socket = place.text("sock");
    let mut command = mp_manager(["serve", "--socket", &socket]);
    command.args(options);
    Server::start(place, command)
}

fn at(server: &Server, arguments: &[&str]) -> Command {
    let mut command = mp_manager(arguments);
    command.env("MP_MANAGER", &server.addresses[0]);
    command
}

pub(crate) fn value_in(file: &Path) -> Option<u64> {
    let manager = Manager::builder().restore(file).start().ok()?;
    let value = manager.named("x").value(&0_u64).unwrap().get().unwrap();
    manager.shutdown().unwrap();
    Some(value)
}

#[test]
fn objects_are_kept_from_one_server_to_the_next() {
    let mut place = Place::new();
    let file = place.text("kept");
    for life in 0..3 {
        let server = serve(place, &["--keep", &file]);
        let manager = Manager::connect(&server.addresses[0]).unwrap();
        assert_eq!(manager.named("x").value(&0_u64).unwrap().fetch_add(1).unwrap(), life);
        match life {
            0 => run(&mut at(&server, &["shutdown"])).printed(""),
            1 => server.signal("TERM"),
            _ => server.signal("INT"),
        }
        place = server.ends_well();
    }
    assert_eq!(value_in(file.as_ref()), Some(3));
    let server = serve(place, &["--restore", &file]);
    run(&mut at(&server, &["get", "x"])).printed("3\n");
    // A new file to keep them in, which does not exist yet.
    let (place, kept) = (Place::new(), server.place.text("next"));
    let next = serve(place, &["--restore", &file, "--keep", &kept]);
    run(&mut at(&next, &["set", "x", "9"])).printed("");
    run(&mut at(&next, &["shutdown"])).printed("");
    let next = serve(next.ends_well(), &["--restore", &file, "--keep", &kept]);
    run(&mut at(&next, &["get", "x"])).printed("9\n");
}

#[test]
fn a_server_that_is_killed_has_saved_its_objects_at_intervals() {
    let place = Place::new();
    let file = place.text("kept");
    let options = ["--keep", &file, "--keep-every", "20ms"];
    let mut server = serve(place, &options);
    run(&mut at(&server, &["set", "--type", "u64", "x", "7"])).printed("");
    eventually("it is saved", || value_in(file.as_ref()) == Some(7));
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let place = std::mem::replace(&mut server.place, Place::new());
    let server = serve(place, &options);
    run(&mut at(&server, &["get", "x"])).printed("7\n");
}

#[test]
fn a_snapshot_is_a_file_that_another_server_begins_with() {
    let server = Place::new().serve();
    server.run(["set", "--type", "u64", "x", "5"]).printed("");
    let file = server.place.text("snapshot");
    let mut relative = mp_manager(["snapshot", "snapshot", "--address", &server.addresses[0]]);
    relative.args(["--key-file", &server.place.text("key")]).current_dir(server.place.path(""));
    run(&mut relative).printed("");
    assert_eq!(value_in(file.as_ref()), Some(5));
    let missing = server.place.text("missing/file");
    server.run(["snapshot", &missing]).refused(1, &[&missing, &server.addresses[0], "No such file"]);
    // The file is on the server's host.
    server.run_at(1, ["snapshot", &file]).refused(1, &[&file, "refused this client"]);
    let of = |option: &str, file: &str| {
        run(&mut mp_manager(["serve", "--socket", &server.place.text("other"), option, file]))
    };
    of("--restore", &missing).refused(1, &[&missing, "No such file"]);
    fs::write(&file, "text").unwrap();
    for option in ["--restore", "--keep"] {
        of(option, &file).refused(1, &[&file, "not a snapshot"]);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "text");
    assert!(!server.place.path("other").exists());
}

pub(crate) fn children_of(server: &Server) -> Vec<u32> {
    let id = server.child.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    children.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

#[test]
fn a_server_that_cannot_save_at_an_interval_says_so_and_goes_on() {
    let place = Place::new();
    let (socket, kept) = (place.text("sock"), place.text("folder/kept"));
    fs::create_dir(place.path("folder")).unwrap();
    let mut command = mp_manager(["serve", "--socket", &socket, "--keep", &kept, "--keep-every", "20ms"]);
    place.keep_errors(&mut command);
    let server = Server::start(place, command);
    fs::remove_dir_all(server.place.path("folder")).unwrap();
    run(&mut at(&server, &["set", "--type", "u64", "x", "7"])).printed("");
    eventually("it is said", || server.place.errors().contains(&format!("were not saved in {kept}")));
    run(&mut at(&server, &["get", "x"])).printed("7\n");
    let top = run(&mut at(&server, &["top", "--once"]));
    assert!(top.stdout.contains("failed saves "), "{top:?}");
}

#[test]
fn shutdown_fails_if_the_objects_cannot_be_saved() {
    let place = Place::new();
    let missing = place.text("missing/kept");
    let mut server = serve(place, &["--keep", &missing]);
    run(&mut at(&server, &["shutdown"])).refused(1, &[&server.addresses[0], "No such file"]);
    assert_eq!(ended(&mut server.child).code(), Some(1));
}

#[test]
fn a_signal_ends_a_server_that_still_restores_its_objects() {
    let place = Place::new();
    let (socket, pipe) = (place.text("sock"), place.text("pipe"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // A file that takes for ever, since nobody writes to it.
    let _writer = fs::File::options().read(true).write(true).open(&pipe).unwrap();
    for signal in ["TERM", "INT"] {
        let command = &mut mp_manager(["serve", "--socket", &socket, "--restore", &pipe]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        // It blocks the signal when it begins to listen for it, and it reads after it has made its socket.
        eventually("it restores", || place.path("sock").exists());
        crate::program::signal(child.id(), signal);
        assert_eq!(ended(&mut child).code(), Some(0), "{signal}");
        assert!(!place.path("sock").exists());
    }
}

/// Begins a snapshot, and stops the process that writes it, which is not the server. Returns the command and that process.
pub(crate) fn stopped_snapshot(server: &Server, file: &str) -> (Child, u32) {
    let before = children_of(server);
    let deadline = Instant::now() + DEADLINE;
    loop {
        let mut command = at(server, &["snapshot", file]);
        let mut snapshot = command.stdout(Stdio::null()).spawn().unwrap();
        while snapshot.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the server itself writes");
            let Some(writer) = children_of(server).into_iter().find(|child| !before.contains(child)) else {
                continue;
            };
            if kill_process(pid(writer), Signal::STOP).is_err() {
                continue;
            }
            let has_ended = || is_in_state(writer, 'Z') || !Path::new(&format!("/proc/{writer}")).exists();
            eventually("it is stopped", || is_in_state(writer, 'T') || has_ended());
            if is_in_state(writer, 'T') {
                return (snapshot, writer);
            }
        }
        assert!(Instant::now() < deadline, "the server itself writes");
    }
}

pub(crate) fn pid(number: u32) -> Pid {
    Pid::from_raw(number.cast_signed()).unwrap()
}

pub(crate) fn filled(place: Place, options: &[&str]) -> Server {
    let server = serve(place, options);
    fill(&Manager::connect(&server.addresses[0]).unwrap());
    server
}

/// Makes objects that take a while to be written.
pub(crate) fn fill(manager: &Manager) {
    let list = manager.named("list").list::<Vec<u8>>().unwrap();
    list.extend(&vec![vec![1; 100_000]; 200]).unwrap();
    manager.named("x").value(&4_u64).unwrap();
}

#[test]
fn clients_are_served_while_a_snapshot_is_written() {
    for options in [&[][..], &["--http", "0"]] {
        let server = filled(Place::new(), options);
        let file = server.place.text("snapshot");
        let (mut snapshot, writer) = stopped_snapshot(&server, &file);
        run(&mut at(&server, &["get", "x"])).printed("4\n");
        kill_process(pid(writer), Signal::CONT).unwrap();
        assert!(ended(&mut snapshot).success());
        assert_eq!(value_in(file.as_ref()), Some(4));
    }
}

#[test]
fn a_shutdown_that_takes_too_long_says_so_and_the_server_ends_nevertheless() {
    let place = Place::new();
    let kept = place.text("kept");
    let mut server = filled(place, &["--keep", &kept]);
    let (mut snapshot, writer) = stopped_snapshot(&server, &kept);
    let texts = [&server.addresses[0], "within 1s", "still saving"];
    run(&mut at(&server, &["shutdown", "--timeout", "1s"])).refused(5, &texts);
    kill_process(pid(writer), Signal::CONT).unwrap();
    assert!(ended(&mut snapshot).success());
    assert_eq!(ended(&mut server.child).code(), Some(0));
    assert_eq!(value_in(kept.as_ref()), Some(4));
}

//! The units of the guide's page: `serve` with sockets that a service manager has passed.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use manager_rt::Manager;
use mp_sys::testing::eventually;
use rustix::process::{Signal, kill_process};

use crate::keeping::{fill, pid, stopped_snapshot};
use crate::program::{DEADLINE, KEY, Place, Server, ended, mp_manager, run};

/// Returns what the guide's unit executes, without the program.
fn options_of_the_unit() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/mp-manager.md");
    let page = fs::read_to_string(page).unwrap();
    let units: Vec<&str> =
        page.split("```ini\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert_eq!(units.len(), 2, "a socket and a service");
    assert!(units[0].contains("ListenStream=/run/jobs.sock\n"), "{units:?}");
    assert!(units[1].contains("Type=notify\n"), "{units:?}");
    let command = units[1].lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let mut words = command.split(' ').map(str::to_owned);
    assert_eq!(words.next().as_deref(), Some("/usr/local/bin/mp-manager"));
    words.collect()
}

/// Returns a command that starts the program as systemd does, with this socket at the number 3.
fn activated(socket: impl Into<OwnedFd>, options: &[String]) -> Command {
    let mut command = Command::new("sh");
    let script = "exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\"";
    command.args(["-c", script]).arg(env!("CARGO_BIN_EXE_mp-manager")).args(options);
    command.env_remove("NOTIFY_SOCKET").stdin(Stdio::from(socket.into()));
    command
}

#[test]
fn the_service_of_the_guide_serves_the_socket_that_it_is_given() {
    let mut place = Place::new();
    let (socket, kept) = (place.path("given"), place.text("kept"));
    // What the service manager does. It keeps the socket, whatever becomes of the service.
    let listener = UnixListener::bind(&socket).unwrap();
    let notified = UnixDatagram::bind(place.path("notify")).unwrap();
    notified.set_read_timeout(Some(DEADLINE)).unwrap();
    let options = options_of_the_unit();
    assert!(options.iter().any(|option| option == "/var/lib/jobs/objects"), "{options:?}");
    let options: Vec<String> =
        options.iter().map(|option| option.replace("/var/lib/jobs/objects", &kept)).collect();
    for life in 0..2 {
        let mut command = activated(listener.try_clone().unwrap(), &options);
        command.env("NOTIFY_SOCKET", place.path("notify"));
        let mut server = Server::start(place, command);
        assert_eq!(server.addresses, [format!("mp+unix:{}", socket.display())]);
        let mut state = [0; 64];
        let len = notified.recv(&mut state).unwrap();
        assert_eq!(&state[..len], b"READY=1");
        let manager = Manager::connect(&server.addresses[0]).unwrap();
        assert_eq!(manager.named("lives").value(&0_u64).unwrap().fetch_add(1).unwrap(), life);
        server.signal("TERM");
        assert_eq!(ended(&mut server.child).code(), Some(0));
        assert!(socket.exists(), "the socket belongs to the service manager");
        let len = notified.recv(&mut state).unwrap();
        assert_eq!(&state[..len], b"STOPPING=1");
        place = std::mem::replace(&mut server.place, Place::new());
    }
}

#[test]
fn a_given_port_needs_a_key_and_a_given_socket_may_be_beside_an_own_one() {
    let place = Place::new();
    let key = place.text("key");
    let port = || TcpListener::bind("127.0.0.1:0").unwrap();
    let options = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    run(&mut activated(port(), &options(&["serve"]))).refused(2, &["keygen"]);
    run(&mut mp_manager(["serve"])).refused(2, &["--socket", "LISTEN_FDS"]);
    let (listener, socket) = (port(), place.text("sock"));
    let address = format!("mp+tcp://{}", listener.local_addr().unwrap());
    let server = Server::start(
        place,
        activated(listener, &options(&["serve", "--socket", &socket, "--key-file", &key])),
    );
    server.manager().named("x").value(&1_u8).unwrap();
    let remote = Manager::builder().key(KEY).connect(&address).unwrap();
    assert_eq!(remote.names(), Ok(vec!["x".to_owned()]));
}

/// A program that connects there while the server saves its objects for the last time waits for the next server.
#[test]
fn a_given_socket_is_left_to_the_next_server_while_one_ends() {
    let place = Place::new();
    let [socket, own, kept] = ["given", "sock", "kept"].map(|name| place.text(name));
    let listener = UnixListener::bind(&socket).unwrap();
    let options = ["serve", "--socket", &own, "--keep", &kept].map(str::to_owned);
    let mut server = Server::start(place, activated(listener.try_clone().unwrap(), &options));
    let at = |path: &str| format!("mp+unix:{path}");
    // The server waits for the process that writes this one.
    fill(&Manager::connect(&at(&own)).unwrap());
    let (mut snapshot, writer) = stopped_snapshot(&server, &kept);
    server.signal("TERM");
    eventually("it is ending", || run(mp_manager(["ls"]).env("MP_MANAGER", at(&own))).code == Some(3));
    let mut waiting = UnixStream::connect(&socket).unwrap();
    run(mp_manager(["ls"]).env("MP_MANAGER", at(&own))).refused(3, &["is ending"]);
    kill_process(pid(writer), Signal::CONT).unwrap();
    assert!(ended(&mut snapshot).success());
    assert_eq!(ended(&mut server.child).code(), Some(0));
    waiting.set_nonblocking(true).unwrap();
    let heard = waiting.read(&mut [0]).unwrap_err();
    assert_eq!(heard.kind(), ErrorKind::WouldBlock, "nobody has accepted it, and nobody has closed it");
    listener.set_nonblocking(true).unwrap();
    drop(listener.accept().unwrap());
}

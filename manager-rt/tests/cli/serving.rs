//! `serve` and `shutdown`.

use std::fs;
use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::process::Stdio;

use manager_rt::Manager;

use crate::program::{DEADLINE, KEY, Place, Server, ended, mp_manager, run};

#[test]
fn a_server_is_reached_at_every_address_that_it_prints() {
    let server = Place::new().serve();
    let [local, tcp] = &server.addresses[..] else { panic!("{:?}", server.addresses) };
    assert_eq!(*local, format!("mp+unix:{}", server.place.text("sock")));
    assert!(tcp.starts_with("mp+tcp://127.0.0.1:") && !tcp.ends_with(":0"), "{tcp}");
    for address in [local, tcp] {
        let manager = Manager::builder().key(KEY).connect(address).unwrap();
        manager.named("n").value(&0_u64).unwrap().fetch_add(1).unwrap();
    }
    assert_eq!(server.manager().named("n").value(&0_u64).unwrap().get().unwrap(), 2);
}

#[test]
fn signals_end_a_server_and_its_sockets_are_removed() {
    for signal in ["TERM", "INT"] {
        let server = Place::new().serve();
        server.signal(signal);
        server.ends_well();
    }
}

#[test]
fn a_server_without_clients_ends_after_the_time_that_was_set() {
    let place = Place::new();
    let command = mp_manager(["serve", "--socket", &place.text("sock"), "--idle-end", "50ms"]);
    let server = Server::start(place, command);
    // From now on, the server does not wait for its first client.
    run(&mut mp_manager(["rm", "x", "--address", &server.addresses[0]]));
    server.ends_well();
}

#[test]
fn shutdown_ends_a_server_at_either_address_and_its_place_is_free_then() {
    let mut place = Place::new();
    for at in [0, 1] {
        let server = place.serve();
        server.run_at(at, ["shutdown"]).printed("");
        assert!(!server.place.path("sock").exists(), "shutdown returned before the end");
        place = server.ends_well();
    }
}

#[test]
fn the_socket_of_a_killed_server_is_replaced() {
    let mut server = Place::new().serve();
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    assert!(server.place.path("sock").exists());
    server.run(["shutdown"]).refused(3, &[&server.addresses[0], "no server listens", "mp-manager serve"]);
    let place = std::mem::replace(&mut server.place, Place::new());
    place.serve().run(["shutdown"]).printed("");
}

#[test]
fn a_place_that_is_taken_stays_as_it_is() {
    let server = Place::new().serve();
    let socket = server.place.text("sock");
    let serve = |arguments: &[&str]| run(&mut mp_manager([&["serve", "--socket"], arguments].concat()));
    serve(&[&socket]).refused(3, &[&socket, "a server already listens"]);
    // The server of another program holds no lock.
    let other = server.place.text("other");
    let listener = UnixListener::bind(&other).unwrap();
    serve(&[&other]).refused(3, &[&other, "a server already listens"]);
    drop(listener);
    let file = server.place.text("file");
    fs::write(&file, "precious").unwrap();
    serve(&[&file]).refused(3, &[&file, "not a socket"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    let (free, key) = (server.place.text("free"), server.place.text("key"));
    let taken = server.addresses[1].strip_prefix("mp+tcp://").unwrap();
    serve(&[&free, "--tcp", taken, "--key-file", &key]).refused(3, &[taken, "in use"]);
    assert!(!server.place.path("free").exists(), "no socket stays behind");
    assert_eq!(server.manager().names().unwrap(), [""; 0], "the server lives");
}

#[test]
fn a_path_may_be_relative() {
    let place = Place::new();
    let mut command = mp_manager(["serve", "--socket", "sock"]);
    command.current_dir(place.path(""));
    let server = Server::start(place, command);
    assert_eq!(server.addresses, [format!("mp+unix:{}", server.place.text("sock"))]);
    run(&mut mp_manager(["shutdown", "--address", &server.addresses[0]])).printed("");
}

#[test]
fn keys_that_are_being_replaced_are_accepted() {
    let place = Place::new();
    place.write_key("new", &KEY.to_uppercase());
    let (socket, key, new) = (place.text("sock"), place.text("key"), place.text("new"));
    let command = mp_manager([
        "serve",
        "--socket",
        &socket,
        "--tcp",
        "127.0.0.1:0",
        "--key-file",
        &key,
        "--accept-key-file",
        &new,
    ]);
    let server = Server::start(place, command);
    for (at, file) in [(1, &key), (1, &new), (0, &key), (0, &new)] {
        let output =
            run(&mut mp_manager(["rm", "x", "--address", &server.addresses[at], "--key-file", file]));
        assert_eq!(output.code, Some(4), "{output:?}");
    }
}

#[test]
fn limits_are_those_of_the_arguments() {
    let place = Place::new();
    let socket = place.text("sock");
    let command = mp_manager(["serve", "--socket", &socket, "--memory", "8MiB", "--clients", "2"]);
    let server = Server::start(place, command);
    let connect = || Manager::connect(&server.addresses[0]);
    let (one, _other) = (connect().unwrap(), connect().unwrap());
    let refused = run(&mut mp_manager(["rm", "x", "--address", &server.addresses[0]]));
    refused.refused(3, &[&server.addresses[0], "limited to 2", "--clients"]);
    let list = one.list::<Vec<u8>>().unwrap();
    let full = (0..9).find_map(|_| list.push(&vec![7; 1 << 20]).err()).unwrap();
    assert!(full.to_string().contains("8388608"), "{full}");
}

#[test]
fn a_supervisor_learns_when_the_server_serves_and_when_it_ends() {
    let place = Place::new();
    let path = place.path("notify");
    let by_path = UnixDatagram::bind(&path).unwrap();
    let name = format!("mp-manager-test-{}", place.text("").replace('/', "-"));
    let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let mut place = place;
    for (socket, variable) in [(&by_path, path.to_str().unwrap().to_owned()), (&by_name, format!("@{name}"))]
    {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let received = || {
            let mut buffer = [0; 64];
            let len = socket.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..len].to_vec()).unwrap()
        };
        let mut command = mp_manager(["serve", "--socket", &place.text("sock")]);
        command.env("NOTIFY_SOCKET", variable);
        let server = Server::start(place, command);
        assert_eq!(received(), "READY=1");
        server.signal("TERM");
        assert_eq!(received(), "STOPPING=1");
        place = server.ends_well();
    }
}

#[test]
fn a_server_outlives_the_reader_of_its_output_and_a_lost_supervisor() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let socket = place.text("sock");
    let mut command = mp_manager(["serve", "--socket", &socket]);
    command.env("NOTIFY_SOCKET", place.path("nobody")).stdout(writer).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(command);
    let address = format!("mp+unix:{socket}");
    let mut last = None;
    mp_sys::testing::eventually("it serves", || {
        Manager::connect(&address).is_ok_and(|manager| manager.names().is_ok())
    });
    run(&mut mp_manager(["shutdown", "--address", &address])).printed("");
    assert_eq!(ended(&mut child).code(), Some(0));
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    last.replace(stderr);
    let stderr = last.unwrap();
    assert!(stderr.contains("NOTIFY_SOCKET") && stderr.lines().count() == 2, "{stderr}");
}

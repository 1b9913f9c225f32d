//! What a user sees when a manager cannot be reached.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use crate::program::{KEY, Output, Place, ended, mp_manager, run};

fn rm(address: &str, key_file: Option<&str>) -> Output {
    let mut command = mp_manager(["rm", "x", "--address", address]);
    if let Some(file) = key_file {
        command.args(["--key-file", file]);
    }
    run(&mut command)
}

#[test]
fn the_message_names_the_address_and_what_to_do() {
    let place = Place::new();
    let key = place.text("key");
    place.write_key("short", "short");
    let nowhere = format!("mp+unix:{}", place.text("nowhere"));
    rm(&nowhere, None).refused(3, &[&nowhere, "no server listens", "mp-manager serve"]);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let free = format!("mp+tcp://{free}");
    rm(&free, Some(&key)).refused(3, &[&free, "no server listens"]);
    rm(&free, None).refused(3, &[&free, "too short", "--key-file"]);
    rm(&free, Some(&place.text("short"))).refused(3, &[&free, "5 bytes", "mp-manager keygen"]);
    let unknown = "mp+tcp://no-such-host.invalid:7";
    rm(unknown, Some(&key)).refused(3, &[unknown, "no host has this name"]);
    // A socket that is no manager's.
    let mute = place.path("mute");
    let listener = UnixListener::bind(&mute).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| drop(listener.accept().unwrap()));
        let mute = format!("mp+unix:{}", mute.display());
        rm(&mute, None).refused(3, &[&mute, "closed the connection"]);
    });
}

#[test]
fn a_wrong_key_is_not_a_missing_server() {
    let server = Place::new().serve();
    server.place.write_key("wrong", &KEY.to_uppercase());
    let wrong = server.place.text("wrong");
    let [local, tcp] = &server.addresses[..] else { panic!() };
    rm(local, Some(&wrong)).refused(3, &[local, "another key", "--key-file"]);
    rm(local, None).refused(3, &[local, "another key", "give --key-file"]);
    rm(tcp, Some(&wrong)).refused(3, &[tcp, "another key", "--key-file"]);
    rm(tcp, None).refused(3, &[tcp, "too short", "give --key-file"]);
    // The socket and the port are two addresses.
    let at_socket = format!("mp+tcp:{}", local.strip_prefix("mp+unix:").unwrap());
    rm(&at_socket, Some(&wrong)).refused(2, &["not a host and a port"]);
}

#[test]
fn what_is_no_address_is_a_wrong_argument() {
    for (address, why) in [
        ("", "must begin with `mp+unix:`"),
        ("http://host", "must begin with `mp+unix:`"),
        ("mp+unix:relative", "must be absolute"),
        ("mp+tcp://host", "not a host and a port"),
        ("mp+tcp://host:7?lost_after=1s", "lost_after"),
    ] {
        rm(address, None).refused(2, &[why]);
    }
}

#[test]
fn a_server_that_is_killed_under_a_client_is_told() {
    let mut server = Place::new().serve();
    // A stopped server accepts a connection and says nothing.
    server.signal("STOP");
    let mut command = mp_manager(["rm", "x", "--address", &server.addresses[0]]);
    command.arg("--key-file").arg(server.place.path("key")).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut client = command.spawn().unwrap();
    let socket = format!("/proc/{}/fd", client.id());
    mp_sys::testing::eventually("the client has a socket", || {
        let links = std::fs::read_dir(&socket)
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count() > 0
    });
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    assert_eq!(ended(&mut client).code(), Some(3));
    let stderr = std::io::read_to_string(client.stderr.take().unwrap()).unwrap();
    assert!(stderr.contains(&server.addresses[0]) && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn a_closed_stdout_is_no_reason_to_fail() {
    let server = Place::new().serve();
    server.manager().named("n").event().unwrap();
    for redirection in [">&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        let mut shell = Command::new("sh");
        let rm = format!("\"$0\" rm n --address \"$1\" --key-file \"$2\" {redirection}");
        shell.args(["-c", &rm, env!("CARGO_BIN_EXE_mp-manager"), &server.addresses[0]]);
        let output = run(shell.arg(server.place.path("key")));
        assert_eq!(output.code, Some(0), "{output:?}");
        server.manager().named("n").event().unwrap();
    }
}

//! Servers whose sockets a service manager has made, as systemd passes them: at the numbers from 3 on, with names.

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixListener;
use std::process::{Command, ExitCode};

use manager_rt::{BindError, Manager, Server};
use mp_sys::testing::{eventually, tests};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

tests! {
    a_process_serves_the_sockets_that_it_is_given,
    what_does_not_listen_is_not_served,
}

/// The variable that tells this program that it is the service, and which key it has.
const KEY_OF_SERVICE: &str = "MP_TEST_SERVICE_KEY";
const KEY: &str = "a key that has at least 32 bytes";

/// Serves, if this process is the service.
pub(crate) fn serve() -> Option<ExitCode> {
    let key = std::env::var(KEY_OF_SERVICE).ok()?;
    let builder = Server::builder().key(key.as_str()).activated().unwrap();
    assert!(builder.has_sockets());
    assert!(!Server::builder().activated().unwrap().has_sockets(), "the first call took them");
    // No child of the service has its sockets.
    let inherited = Command::new("sh").args(["-c", "ls -l /proc/self/fd"]).output().unwrap().stdout;
    assert!(!String::from_utf8(inherited).unwrap().contains("socket:"));
    let server = builder.serve_given().unwrap();
    server.serve().unwrap();
    Some(ExitCode::SUCCESS)
}

fn a_process_serves_the_sockets_that_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manager.sock");
    let local = UnixListener::bind(&path).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // Beyond the places of the service's sockets.
    let inherited = [local.as_fd(), port.as_fd()].map(|file| fcntl_dupfd_cloexec(file, 5).unwrap());
    inherited.iter().for_each(|file| fcntl_setfd(file, FdFlags::empty()).unwrap());
    let program = std::env::current_exe().unwrap();
    let start = || {
        // The shell becomes the service, so its number is that of the service.
        let [local, port] = inherited.each_ref().map(AsRawFd::as_raw_fd);
        let script = format!(
            "exec env LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=local:port \"$0\" 3<&{local} 4<&{port} {local}<&- {port}<&-"
        );
        assert!(port < 10, "some shells only know numbers of one digit: {port}");
        Command::new("sh").args(["-c", &script]).arg(&program).env(KEY_OF_SERVICE, KEY).spawn().unwrap()
    };
    // Whoever connects before the service runs waits for it, and so it is from one service to the next.
    for _ in 0..2 {
        let mut service = start();
        let builder = || Manager::builder().key(KEY);
        let manager = builder().connect(&format!("mp+unix:{}", path.display())).unwrap();
        manager.named("one").value(&1_u8).unwrap();
        #[cfg(feature = "tcp")]
        {
            let remote = builder().connect(&format!("mp+tcp://{}", port.local_addr().unwrap())).unwrap();
            assert_eq!(remote.names(), Ok(vec!["one".to_owned()]), "it is the same server");
        }
        manager.shutdown().unwrap();
        assert!(service.wait().unwrap().success());
        assert!(path.exists(), "the socket belongs to the service manager");
    }
}

fn what_does_not_listen_is_not_served() {
    assert!(matches!(Server::builder().serve_given(), Err(BindError::NoSocket)));
    let folder = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(folder.path().join("file")).unwrap();
    let (connected, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for builder in [
        Server::builder().listening(file),
        Server::builder().listening(connected),
        Server::builder().listening(datagrams),
    ] {
        let refused = builder.serve_given();
        assert!(matches!(refused, Err(BindError::NotListening(_))), "{refused:?}");
    }
    let without_key = Server::builder().listening(port).serve_given();
    if cfg!(feature = "tcp") {
        assert!(matches!(without_key, Err(BindError::KeyTooShort { .. })), "{without_key:?}");
    } else {
        assert!(matches!(without_key, Err(BindError::NotListening(_))), "{without_key:?}");
    }
    // A given socket and one of its own.
    let path = folder.path().join("given.sock");
    let given = UnixListener::bind(&path).unwrap();
    let server = Server::builder().listening(given).bind(folder.path().join("own.sock")).unwrap();
    assert_eq!(server.address().path().unwrap(), folder.path().join("own.sock"));
    drop(server);
    assert!(path.exists() && !folder.path().join("own.sock").exists());
    eventually("nobody listens at the given socket", || {
        std::os::unix::net::UnixStream::connect(&path).is_err()
    });
}

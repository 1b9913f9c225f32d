//! Encrypted connections.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use manager_rt::{ConnectError, Manager, ReachError};
use rustix::io::Errno;

use crate::deaths::PATIENCE;
use crate::server::{Server, namespace};

/// A server whose certificate is for 127.0.0.1, and signed by an authority of its own.
struct Encrypted {
    server: Server,
    folder: tempfile::TempDir,
    port: u16,
}

fn openssl(folder: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    command.args(arguments.split(' ')).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().expect("openssl is installed").success(), "{arguments}");
}

/// Makes an authority with this name in `ca.pem`, and a certificate and its key that it has signed.
fn make_certificates(folder: &Path, name: &str) {
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(folder, &format!("{new} -subj /CN={name} -keyout ca.key -out ca.pem"));
    let signed = "-subj /CN=server -CA ca.pem -CAkey ca.key -addext subjectAltName=IP:127.0.0.1";
    let leaf = "-addext basicConstraints=critical,CA:false";
    openssl(folder, &format!("{new} {signed} {leaf} -keyout server.key -out server.pem"));
}

impl Encrypted {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        make_certificates(folder.path(), "authority");
        // Whoever else takes the port meanwhile makes the server end, and the test fail.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut settings =
            format!("listeners.ssl.default = 127.0.0.1:{port}\nssl_options.verify = verify_none\n");
        for (option, file) in
            [("cacertfile", "ca.pem"), ("certfile", "server.pem"), ("keyfile", "server.key")]
        {
            let path = folder.path().join(file);
            settings.push_str(&format!("ssl_options.{option} = {}\n", path.display()));
        }
        Self { server: Server::start_with(&settings), folder, port }
    }

    fn url(&self, host: &str, port: u16, authority: &str) -> String {
        let file = self.folder.path().join(authority);
        format!("amqps://guest:guest@{host}:{port}?ns={}&ca={}", namespace(), file.display())
    }

    fn error(&self, host: &str, port: u16, authority: &str) -> ConnectError {
        let error = Manager::connect(&self.url(host, port, authority)).unwrap_err();
        let shown = format!("{error} {error:?}");
        let ReachError::Connect { address, error } = error else { panic!("{error:?}") };
        assert!(address.starts_with("amqps://guest@") && shown.contains(authority), "{shown}");
        assert!(!shown.contains("guest:"), "{shown}");
        error
    }
}

/// One server for both, since each start takes seconds.
#[test]
fn encrypted_connections_serve_as_others_do_and_are_checked() {
    let rabbit = Encrypted::start();
    everything_works(&rabbit);
    certificates_that_are_not_accepted_are_errors_of_their_own(&rabbit);
}

fn everything_works(rabbit: &Encrypted) {
    let manager = Manager::connect(&rabbit.url("127.0.0.1", rabbit.port, "ca.pem")).unwrap();
    let items = manager.queue::<Vec<u8>>().unwrap();
    let long = vec![7; 3 << 20];
    items.put(&long).unwrap();
    assert_eq!(items.get_timeout(PATIENCE), Ok(long));
    let tasks = manager.named("tasks").joinable_queue::<u32>().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| tasks.get_timeout(PATIENCE).unwrap().done());
        tasks.put_many(&[1_u32, 2]).unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(1));
    });
    let held = tasks.get_timeout(PATIENCE).unwrap();
    rabbit.server.control(&["close_all_connections", "test"]);
    let again = tasks.get_timeout(PATIENCE).unwrap();
    assert_eq!((*again, again.deliveries(), held.done().is_err(), again.done()), (2, 2, true, Ok(2)));
}

fn certificates_that_are_not_accepted_are_errors_of_their_own(rabbit: &Encrypted) {
    std::fs::write(rabbit.folder.path().join("empty.pem"), "").unwrap();
    for (name, file) in [("other", "other.pem"), ("authority", "same.pem")] {
        let folder = tempfile::tempdir().unwrap();
        make_certificates(folder.path(), name);
        std::fs::copy(folder.path().join("ca.pem"), rabbit.folder.path().join(file)).unwrap();
    }
    let (own, plain) = (rabbit.port, rabbit.server.port());
    for (host, port, file, expected) in [
        ("127.0.0.1", own, "other.pem", ConnectError::UnknownAuthority),
        ("127.0.0.1", own, "same.pem", ConnectError::UnknownAuthority),
        ("localhost", own, "ca.pem", ConnectError::OtherHost),
        ("127.0.0.1", own, "empty.pem", ConnectError::AuthoritiesUnread(Errno::NODATA.into())),
        ("127.0.0.1", own, "none.pem", ConnectError::AuthoritiesUnread(Errno::NOENT.into())),
        ("127.0.0.1", plain, "ca.pem", ConnectError::Protocol),
        ("127.0.0.1", 1, "ca.pem", ConnectError::NotFound),
    ] {
        assert_eq!(rabbit.error(host, port, file), expected, "{host}:{port} {file}");
    }
}

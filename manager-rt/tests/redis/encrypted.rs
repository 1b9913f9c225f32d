//! Encrypted connections.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use manager_rt::{ConnectError, LockError, Manager, ReachError};
use mp_sys::deadline::Deadline;
use mp_sys::reexec::Handed;
use mp_sys::testing::kill;
use rustix::io::Errno;

use crate::deaths::{Holder, PATIENCE, heard, tell};
use crate::failovers::{Process, ports, until};
use crate::server::Server;

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
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (certificate, key, authority) = (path("server.pem"), path("server.key"), path("ca.pem"));
        let server = Server::start(&[
            "--tls-port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &authority,
            "--tls-auth-clients",
            "no",
            "--requirepass",
            "opensesame",
        ]);
        Self { server, folder, port }
    }

    fn url(&self, host: &str, authority: Option<&str>) -> String {
        let file = authority.map(|name| format!("&ca={}", self.folder.path().join(name).display()));
        format!("rediss://:opensesame@{host}:{}?ns=app&lease=3600s{}", self.port, file.unwrap_or_default())
    }
}

/// The main function of a process that takes a lock.
fn hold(handed: Handed) -> i32 {
    let manager = Manager::connect(&heard(&handed)).unwrap();
    let lock = manager.named("lock").lock().unwrap();
    let held = lock.lock().unwrap();
    tell(handed.endpoint(), "held");
    heard(&handed);
    drop(held);
    0
}

/// Lets the holder of a lock die, and checks that its keeper frees it.
fn lock_passes_on(url: &str) {
    let manager = Manager::connect(url).unwrap();
    let holder = Holder::start(hold, url);
    let lock = manager.named("lock").lock().unwrap();
    std::thread::scope(|scope| {
        let next = scope.spawn(|| {
            let error = lock.lock_timeout(PATIENCE).unwrap_err();
            assert!(matches!(error, LockError::OwnerDied(_)), "{error:?}");
        });
        let waits = Deadline::after(PATIENCE);
        while manager.info().unwrap().waiters == 0 {
            assert!(!waits.has_passed() && !next.is_finished());
        }
        // With a lease of an hour, only its keeper can have freed it.
        kill(&holder.child);
        next.join().unwrap();
    });
}

#[test]
fn everything_works_over_encrypted_connections() {
    let redis = Encrypted::start();
    let url = redis.url("127.0.0.1", Some("ca.pem"));
    let manager = Manager::connect(&url).unwrap();
    let list = manager.list::<Vec<u8>>().unwrap();
    let long = vec![7; 3 << 20];
    list.push(&long).unwrap();
    assert_eq!(list.get(0), Ok(long));
    manager.pipeline(|p| (0..300_u16).for_each(|_| drop(p.on(&list).push(&vec![1])))).unwrap();
    assert_eq!(list.len(), Ok(301));
    lock_passes_on(&url);
    assert_eq!(redis.server.cli(&["-a", "opensesame", "--no-auth-warning", "ping"]), "PONG");
}

/// Runs a sentinel that listens for encrypted connections only, asks for the same password, and knows the server as `jobs`.
fn sentinel(redis: &Encrypted) -> (u16, Process) {
    let [port] = ports();
    let folder = redis.folder.path().display();
    let file = redis.folder.path().join("sentinel.conf");
    let text = format!(
        "port 0\ntls-port {port}\nbind 127.0.0.1\ndir {folder}\nrequirepass opensesame\ntls-auth-clients no\n\
         tls-replication yes\ntls-cert-file {folder}/server.pem\ntls-key-file {folder}/server.key\n\
         tls-ca-cert-file {folder}/ca.pem\nsentinel monitor jobs 127.0.0.1 {} 1\n\
         sentinel auth-pass jobs opensesame\n",
        redis.port
    );
    std::fs::write(&file, text).unwrap();
    let process = Process::redis(&[file.display().to_string(), "--sentinel".to_owned()]);
    until("the sentinel listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    (port, process)
}

/// Keepers ask the sentinel as well.
#[test]
fn sentinels_and_the_servers_that_they_name_are_reached_over_encrypted_connections() {
    let redis = Encrypted::start();
    let (port, _sentinel) = sentinel(&redis);
    let url = |scheme: &str, ca: &str| {
        let query = if ca.is_empty() {
            String::new()
        } else {
            format!("&ca={}", redis.folder.path().join(ca).display())
        };
        format!("{scheme}://:opensesame@127.0.0.1:{port}/jobs?ns=app&lease=3600s{query}")
    };
    let good = url("rediss+sentinel", "ca.pem");
    let manager = Manager::connect(&good).unwrap();
    assert_eq!(manager.address(), Some(good.replace(":opensesame@", "")));
    assert!(manager.backend().caps().may_lose_on_failover);
    lock_passes_on(&good);
    let other = tempfile::tempdir().unwrap();
    make_certificates(other.path(), "other");
    std::fs::copy(other.path().join("ca.pem"), redis.folder.path().join("other.pem")).unwrap();
    let refused = Manager::connect(&url("valkeys+sentinel", "other.pem")).unwrap_err();
    let ReachError::Connect { error, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(error, ConnectError::UnknownAuthority);
    assert!(Manager::connect(&url("redis+sentinel", "")).is_err(), "this sentinel understands no plain text");
}

/// A sentinel that does not encrypt is not told anything.
#[test]
fn no_plain_text_reaches_a_sentinel_of_an_encrypted_address() {
    let redis = Encrypted::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let ca = redis.folder.path().join("ca.pem");
    let url = format!("rediss+sentinel://:opensesame@127.0.0.1:{port}/jobs?ca={}", ca.display());
    std::thread::scope(|scope| {
        let heard = scope.spawn(|| {
            let (mut client, _) = listener.accept().unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut first = [0];
            client.read_exact(&mut first).unwrap();
            first[0]
        });
        assert!(Manager::connect(&url).is_err());
        // The first byte of a handshake.
        assert_eq!(heard.join().unwrap(), 0x16);
    });
}

#[test]
fn certificates_that_are_not_accepted_are_errors_of_their_own() {
    let redis = Encrypted::start();
    std::fs::write(redis.folder.path().join("empty.pem"), "").unwrap();
    let with_own = redis.url("127.0.0.1", Some("ca.pem"));
    assert!(Manager::connect(&with_own).is_ok());
    for (name, file) in [("other", "other.pem"), ("authority", "same.pem")] {
        let folder = tempfile::tempdir().unwrap();
        make_certificates(folder.path(), name);
        std::fs::copy(folder.path().join("ca.pem"), redis.folder.path().join(file)).unwrap();
    }
    for (url, expected) in [
        (redis.url("127.0.0.1", Some("other.pem")), ConnectError::UnknownAuthority),
        (redis.url("127.0.0.1", Some("same.pem")), ConnectError::UnknownAuthority),
        (redis.url("localhost", Some("ca.pem")), ConnectError::OtherHost),
        (redis.url("127.0.0.1", Some("empty.pem")), ConnectError::AuthoritiesUnread(Errno::NODATA.into())),
        (redis.url("127.0.0.1", Some("none.pem")), ConnectError::AuthoritiesUnread(Errno::NOENT.into())),
        (redis.url("127.0.0.1", Some("")), ConnectError::AuthoritiesUnread(Errno::ISDIR.into())),
    ] {
        let error = Manager::connect(&url).unwrap_err();
        let shown = format!("{error} {error:?}");
        let ReachError::Connect { address, error } = error else { panic!("{error:?}") };
        assert_eq!(error, expected, "{url}");
        let (_, file) = url.split_once("ca=").unwrap();
        assert!(shown.contains(file), "{shown}");
        assert!(address.starts_with("rediss://") && shown.contains(&address), "{shown}");
        assert!(!shown.contains("opensesame"), "{shown}");
    }
}

/// Sends one byte of a long record whenever the client has been silent for some milliseconds, so that each read of a client returns soon,
/// and the handshake never ends. Ends with the client.
fn drip(listener: &TcpListener) {
    let (mut client, _) = listener.accept().unwrap();
    client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut record = [0x16, 3, 3, 0x3f, 0xff].into_iter().chain(std::iter::repeat(0));
    while client.write_all(&[record.next().unwrap_or_default()]).is_ok() {
        if matches!(client.read(&mut [0; 1024]), Ok(0)) {
            break;
        }
    }
}

#[test]
fn a_handshake_that_goes_on_and_on_ends_with_the_time_for_connecting() {
    let redis = Encrypted::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let slow = Encrypted { port: at.port(), ..redis };
    let url = slow.url("127.0.0.1", Some("ca.pem"));
    let connected = std::thread::scope(|scope| {
        scope.spawn(|| drip(&listener));
        let connected = Manager::builder().timeout(Duration::from_millis(500)).connect(&url);
        // If nobody has connected, this one ends the other side.
        drop(TcpStream::connect(at));
        connected
    });
    let Err(ReachError::Connect { error, .. }) = connected else { panic!("{connected:?}") };
    assert_eq!(error, ConnectError::TimedOut);
}

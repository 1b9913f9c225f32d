//! Managers that other hosts reach, over loopback.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use manager_rt::conformance::{self, Fixture};
use manager_rt::limits::{KEYS_MAX, REMOTE_KEY_BYTES_MIN};
use manager_rt::proto::Fault;
use manager_rt::{
    BindError, CallError, ConnectError, LockError, Manager, ReachError, Server, StartError, Stopper,
};
use mp_sys::stream::own_process;
use mp_sys::testing::eventually;

use crate::tcp_relay::TcpRelay;

pub(crate) const KEY: &str = "a key that has at least 32 bytes";
pub(crate) const OTHER_KEY: &str = "another key of at least 32 bytes";
pub(crate) const LOOPBACK: &str = "127.0.0.1:0";

pub(crate) fn started() -> Manager {
    Manager::builder().key(KEY).tcp(LOOPBACK).start().unwrap()
}

pub(crate) fn connect(address: &str, key: &str) -> Manager {
    Manager::builder().key(key).connect(address).unwrap()
}

pub(crate) fn refusal(address: &str, key: &str) -> ConnectError {
    let error = Manager::builder().key(key).connect(address).unwrap_err();
    assert!(error.to_string().contains(address), "{error}");
    match error {
        ReachError::Connect { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_report_says_from_which_address_a_client_came() {
    let manager = started();
    let client = connect(&manager.tcp_address().unwrap(), KEY);
    let report = client.report().unwrap();
    let [local, remote] = &report.clients[..] else { panic!("{report:?}") };
    assert_eq!((local.origin.pid, &local.origin.address), (Some(own_process()), &None));
    assert_eq!((remote.origin.pid, &remote.origin.program), (None, &None));
    let address = remote.origin.address.as_deref().unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    manager.shutdown().unwrap();
}

/// Nobody on another host decides what is written to the files of this one, and nobody who leaves at once does.
#[test]
fn only_a_client_on_the_same_host_can_ask_for_a_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let (file, second) = (folder.path().join("one"), folder.path().join("two"));
    let manager = started();
    let relay = TcpRelay::to(&manager.tcp_address().unwrap());
    let client = relay.client(KEY);
    let refused = client.snapshot(&file).unwrap_err();
    assert_eq!(refused.error, CallError::Fault(Fault::Unauthorised));
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| client.snapshot(&file).is_err());
        relay.cut();
        assert!(asked.join().unwrap());
    });
    // What a server does for one client, it has done before it does the next for another one.
    manager.snapshot(&second).unwrap();
    assert!(second.exists() && !file.exists());
    manager.shutdown().unwrap();
}

/// Connections over TCP to one server process, each through a relay that can end it.
struct Remote {
    server: Manager,
    clients: Mutex<Vec<(Manager, Arc<TcpRelay>)>>,
}

impl Fixture for Remote {
    fn client(&self) -> Manager {
        let relay = Arc::new(TcpRelay::to(&self.server.tcp_address().unwrap()));
        let client = relay.client(KEY);
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).push((client.clone(), relay));
        client
    }

    fn kill(&self, client: &Manager) {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, relay) =
            clients.iter().find(|(known, _)| Arc::ptr_eq(known.backend(), client.backend())).unwrap();
        relay.cut();
    }

    fn waiting(&self) -> u64 {
        self.server.info().unwrap().waiters
    }

    fn objects(&self) -> u64 {
        self.server.info().unwrap().objects
    }

    fn death_bound(&self) -> Duration {
        Duration::ZERO
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.server.shutdown().unwrap();
    }
}

#[test]
fn a_server_on_another_host_does_what_every_backend_must() {
    for test in conformance::all() {
        let fixture = Remote { server: started(), clients: Mutex::default() };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test.run(&fixture)));
        assert!(outcome.is_ok(), "{} failed", test.name);
    }
}

#[test]
fn long_values_travel_in_both_directions() {
    let manager = started();
    let client = connect(&manager.tcp_address().unwrap(), KEY);
    let long: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let dict = client.named("dict").dict::<u32, Vec<u8>>().unwrap();
    for key in 0..3 {
        dict.insert(&key, &long).unwrap();
    }
    let local = manager.named("dict").dict::<u32, Vec<u8>>().unwrap();
    assert_eq!(local.get(&2).unwrap(), dict.get(&1).unwrap());
    assert_eq!(dict.get(&0).unwrap(), Some(long));
    manager.shutdown().unwrap();
}

#[test]
fn nothing_of_what_is_sent_can_be_read_on_the_way() {
    let manager = started();
    let relay = TcpRelay::to(&manager.tcp_address().unwrap());
    let client = relay.client(KEY);
    let secret = "the secret that nobody on the way may read";
    client.named("a telling name").value(&secret.to_owned()).unwrap();
    assert_eq!(client.named("a telling name").value(&String::new()).unwrap().get().unwrap(), secret);
    for sent in relay.sent() {
        for clear in [secret, KEY, "telling name"] {
            assert!(!sent.windows(8).any(|part| part == &clear.as_bytes()[..8]), "{clear}");
        }
        assert!(sent.len() > 200, "something was recorded");
    }
    manager.shutdown().unwrap();
}

#[test]
fn a_recorded_stream_cannot_be_played_back() {
    let manager = started();
    let address = manager.tcp_address().unwrap();
    let relay = TcpRelay::to(&address);
    let client = relay.client(KEY);
    let counter = client.named("n").value(&0_u64).unwrap();
    counter.fetch_add(1).unwrap();
    let [recorded, _] = relay.sent();
    drop((counter, client));
    let before = manager.info().unwrap().clients;
    let mut stream = TcpStream::connect(address.strip_prefix("mp+tcp://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&recorded).unwrap();
    let mut answer = Vec::new();
    // The server answers the first message, as it must, and ends the stream at the first record.
    drop(stream.read_to_end(&mut answer));
    assert!(answer.len() <= 48, "{} bytes", answer.len());
    assert_eq!(manager.named("n").value(&0_u64).unwrap().get().unwrap(), 1, "nothing was done twice");
    assert!(manager.info().unwrap().clients <= before);
    manager.shutdown().unwrap();
}

#[test]
fn keys_are_long_enough_and_equal() {
    let manager = started();
    let address = manager.tcp_address().unwrap();
    assert_eq!(refusal(&address, OTHER_KEY), ConnectError::Rejected);
    for bytes in [0, REMOTE_KEY_BYTES_MIN - 1] {
        let short = ConnectError::KeyTooShort { bytes };
        assert_eq!(refusal(&address, &"k".repeat(bytes)), short);
    }
    assert_eq!(refusal(&address, &"k".repeat(REMOTE_KEY_BYTES_MIN)), ConnectError::Rejected);
    manager.shutdown().unwrap();
    let short = Manager::builder().key("short").tcp(LOOPBACK).start().unwrap_err();
    assert!(matches!(short, StartError::KeyTooShort { bytes: 5 }), "{short}");
}

/// Ends a server, also if the test fails. Otherwise, the test would wait for it.
struct Stop(Stopper);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[test]
fn a_server_accepts_several_keys_while_they_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let keys = |more: usize| {
        let builder = Server::builder().key(KEY).tcp(LOOPBACK).unwrap();
        (0..more).fold(builder, |builder, number| builder.also_accept(format!("{OTHER_KEY}{number}")))
    };
    let refused = keys(KEYS_MAX).bind(folder.path().join("s")).unwrap_err();
    assert!(matches!(refused, BindError::TooManyKeys { keys } if keys == KEYS_MAX + 1), "{refused}");
    let server = keys(KEYS_MAX - 1).bind(folder.path().join("s")).unwrap();
    let (stop, address) = (Stop(server.stopper()), server.tcp_addresses()[0].to_string());
    let local = server.address().to_string();
    std::thread::scope(|scope| {
        let _stop = stop;
        scope.spawn(|| server.serve().unwrap());
        for number in 0..KEYS_MAX - 1 {
            for address in [&address, &local] {
                let client = connect(address, &format!("{OTHER_KEY}{number}"));
                client.named("n").value(&0_u64).unwrap().fetch_add(1).unwrap();
            }
        }
        let client = connect(&address, KEY);
        assert_eq!(
            client.named("n").value(&0_u64).unwrap().get().unwrap(),
            u64::try_from(2 * (KEYS_MAX - 1)).unwrap()
        );
        assert_eq!(refusal(&address, OTHER_KEY), ConnectError::Rejected);
        assert_eq!(refusal(&local, OTHER_KEY), ConnectError::Unauthorised);
    });
}

#[test]
fn what_cannot_be_reached_is_named() {
    let unknown = refusal("mp+tcp://no-such-host.invalid:7000", KEY);
    assert_eq!(unknown, ConnectError::UnknownHost);
    // No other test listens at this address, so nobody takes the port once it is free.
    let listener = std::net::TcpListener::bind("127.71.6.5:0").unwrap();
    let free = listener.local_addr().unwrap();
    let taken = Manager::builder().key(KEY).tcp(free.to_string()).start().unwrap_err();
    assert!(taken.to_string().contains(&free.to_string()), "{taken}");
    drop(listener);
    assert_eq!(refusal(&format!("mp+tcp://{free}"), KEY), ConnectError::NotFound);
}

#[test]
fn a_server_that_is_no_manager_is_not_waited_for_longer_than_the_timeout() {
    let listener = std::net::TcpListener::bind(LOOPBACK).unwrap();
    let address = format!("mp+tcp://{}", listener.local_addr().unwrap());
    let silent =
        Manager::builder().key(KEY).timeout(Duration::from_millis(20)).connect(&address).unwrap_err();
    assert!(matches!(silent, ReachError::Connect { error: ConnectError::TimedOut, .. }), "{silent}");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The first one is from above.
            let (mut stream, _) = (listener.accept().unwrap(), listener.accept().unwrap()).1;
            stream.write_all(&[b'H'; 100]).unwrap();
        });
        assert_eq!(refusal(&address, KEY), ConnectError::Rejected);
    });
}

#[test]
fn both_versions_of_ip_are_served() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        // This machine has no IPv6.
        return;
    }
    let manager = Manager::builder().key(KEY).tcp("[::1]:0").start().unwrap();
    let address = manager.tcp_address().unwrap();
    assert!(address.starts_with("mp+tcp://[::1]:"), "{address}");
    assert!(connect(&address, KEY).names().unwrap().is_empty());
    manager.shutdown().unwrap();
}

#[test]
fn a_cut_connection_releases_what_was_held_and_says_so() {
    let manager = started();
    let relay = TcpRelay::to(&manager.tcp_address().unwrap());
    let (cut, other) = (relay.client(KEY), connect(&manager.tcp_address().unwrap(), KEY));
    let guard_of = cut.named("lock").lock().unwrap();
    let guard = guard_of.lock().unwrap();
    assert!(guard.is_valid());
    relay.cut();
    // The server sees the end of the stream, and the next one gets the lock, with word of the death.
    let lock = other.named("lock").lock().unwrap();
    let taken_over = lock.lock();
    assert!(matches!(taken_over, Err(LockError::OwnerDied(_))), "{taken_over:?}");
    eventually("the holder learns that it is lost", || !guard.is_valid());
    drop(guard);
    assert_eq!(cut.names().unwrap_err(), CallError::ServerGone);
    manager.shutdown().unwrap();
}

/// The server's side of the connection stays open: without the session, the client would wait for its own lock.
#[test]
fn a_client_that_connects_again_ends_its_half_open_connection() {
    let server = Manager::builder().key(KEY).tcp("127.0.0.1:0?lost_after=60s").start().unwrap();
    let relay = TcpRelay::to(&server.tcp_address().unwrap());
    let (client, bystander) = (relay.client(KEY), connect(&server.tcp_address().unwrap(), KEY));
    let lock = client.named("lock").lock().unwrap();
    let tasks = client.named("tasks").joinable_queue::<u8>().unwrap();
    tasks.put(&1).unwrap();
    let other = bystander.named("other").lock().unwrap();
    let kept = other.lock().unwrap();
    for _ in 0..3 {
        let (guard, task) = (lock.lock().unwrap(), tasks.get().unwrap());
        assert_eq!(server.info().unwrap().held, 3);
        relay.freeze();
        eventually("the client knows", || !guard.is_valid());
        let again = lock.lock_timeout(mp_sys::testing::PATIENCE);
        let again = again.or_else(|error| error.into_guard().ok_or("it is not held")).unwrap();
        assert!(again.token() > guard.token());
        assert_eq!(*tasks.try_get().unwrap(), 1, "the task came back, too");
        drop((again, guard, task));
        // This process, the bystander, and the client: no connection is left.
        assert_eq!(server.info().unwrap().clients, 3);
    }
    assert!(kept.is_valid(), "others are not ended");
    // Another manager in the same process is another client.
    let second = relay.client(KEY);
    second.names().unwrap();
    client.names().unwrap();
    assert_eq!(server.info().unwrap().clients, 4);
    drop(kept);
    server.shutdown().unwrap();
}

/// Programs get a new key one after the other, and the server is restarted with its objects at the beginning and at the end.
#[test]
fn keys_are_replaced_by_restarts_that_keep_the_objects() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("manager.snapshot");
    let start = |key: &str, others: &[&str]| {
        let builder = Manager::builder().key(key).keep(&file).tcp(LOOPBACK);
        others.iter().fold(builder, |builder, key| builder.also_accept(*key)).start().unwrap()
    };
    for (key, others, accepted, refused) in [
        (KEY, &[][..], &[KEY][..], &[OTHER_KEY][..]),
        (OTHER_KEY, &[KEY], &[KEY, OTHER_KEY], &[]),
        (OTHER_KEY, &[], &[OTHER_KEY], &[KEY]),
    ] {
        let server = start(key, others);
        let address = server.tcp_address().unwrap();
        for key in accepted {
            connect(&address, key).named("uses").value(&0_u32).unwrap().fetch_add(1).unwrap();
        }
        refused.iter().for_each(|key| assert_eq!(refusal(&address, key), ConnectError::Rejected));
        server.shutdown().unwrap();
    }
    let last = start(KEY, &[]);
    assert_eq!(last.named("uses").value(&0_u32).unwrap().get(), Ok(4));
    last.shutdown().unwrap();
    let many =
        |count: usize| (1..count).fold(Manager::builder(), |builder, _| builder.also_accept(KEY)).start();
    assert!(matches!(many(KEYS_MAX + 1), Err(StartError::TooManyKeys { keys }) if keys == KEYS_MAX + 1));
    many(KEYS_MAX).unwrap().shutdown().unwrap();
    let short = Manager::builder().key(KEY).also_accept("short").tcp(LOOPBACK).start();
    assert!(matches!(short, Err(StartError::KeyTooShort { bytes: 5 })), "{short:?}");
}

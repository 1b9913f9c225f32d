//! Connections by name within one process.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kernel_ipc::limits::{ADDRESS_BYTES_MAX, HANDSHAKES_MAX};
use kernel_ipc::{
    AcceptError, Address, ConnectError, Connection, Descriptor, ListenError, Listener, connect,
    connect_timeout,
};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(3);

fn name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("test-{}-{number}", mp_sys::deadline::now_nanos())
}

/// Returns both sides of one connection.
#[expect(clippy::type_complexity, reason = "both outcomes are checked")]
fn meet<S: Send, R: Send>(
    listener: &Listener<S, R>,
    address: Address,
) -> (Result<Connection<S, R>, AcceptError>, Result<Connection<R, S>, ConnectError>) {
    std::thread::scope(|scope| {
        let connecting = scope.spawn(|| connect_timeout(address, LONG));
        (listener.accept_timeout(LONG), connecting.join().unwrap())
    })
}

/// Returns a stream to the name, without a handshake.
fn stranger(name: &str) -> UnixStream {
    let address = SocketAddr::from_abstract_name(format!("mp.{name}")).unwrap();
    let stream = UnixStream::connect_addr(&address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

#[test]
fn values_and_descriptors_go_both_ways() {
    let name = name();
    let listener = Listener::<u32, Descriptor>::bind(&*name).unwrap();
    let (here, there) = meet(&listener, Address::new(name));
    let (here, there) = (here.unwrap(), there.unwrap());
    drop(listener);
    here.send(&7).unwrap();
    assert_eq!(there.recv(), Ok(7));
    there.send(&std::fs::File::open("/dev/null").unwrap().into()).unwrap();
    assert!(here.recv().is_ok());
    drop(there);
    assert!(here.recv().is_err());
}

#[test]
fn names() {
    let name = name();
    assert_eq!(connect::<u8, u8>(&*name).unwrap_err(), ConnectError::NotFound);
    let listener = Listener::<u8, u8>::bind(&*name).unwrap();
    assert_eq!(Listener::<u8, u8>::bind(&*name).unwrap_err(), ListenError::Exists);
    drop(listener);
    drop(Listener::<u8, u8>::bind(&*name).unwrap());
    for bad in [String::new(), "a\0b".to_owned(), "x".repeat(ADDRESS_BYTES_MAX + 1)] {
        assert_eq!(Listener::<u8, u8>::bind(bad.clone()).unwrap_err(), ListenError::BadName);
        assert_eq!(connect::<u8, u8>(bad).unwrap_err(), ConnectError::BadName);
    }
    let longest = format!("{name:x<0$}", ADDRESS_BYTES_MAX);
    let listener = Listener::<u8, u8>::bind(&*longest).unwrap();
    assert!(meet(&listener, Address::new(longest)).1.is_ok());
}

#[test]
fn waits_for_a_peer_end_with_their_timeout() {
    let name = name();
    let listener = Listener::<u8, u8>::bind(&*name).unwrap();
    assert_eq!(listener.try_accept().unwrap_err(), AcceptError::Empty);
    assert_eq!(listener.accept_timeout(SHORT).unwrap_err(), AcceptError::TimedOut);
    assert_eq!(connect_timeout::<u8, u8>(&*name, SHORT).unwrap_err(), ConnectError::TimedOut);
    assert_eq!(
        listener.accept_timeout(SHORT).unwrap_err(),
        AcceptError::TimedOut,
        "a peer that gave up is not accepted"
    );
}

#[test]
fn a_full_queue_of_connections_is_waited_for_and_no_longer_than_the_timeout() {
    let name = name();
    let listener = Listener::<u8, u8>::bind(&*name).unwrap();
    let address = SocketAddrUnix::new_abstract_name(format!("mp.{name}").as_bytes()).unwrap();
    let mut strangers = Vec::new();
    let is_full = loop {
        let socket = mp_sys::descriptors::stream_socket().unwrap();
        match rustix::net::connect(&socket, &address) {
            Ok(()) if strangers.len() < 8_192 => strangers.push(socket),
            outcome => break outcome == Err(Errno::AGAIN),
        }
    };
    assert!(is_full);
    assert_eq!(connect_timeout::<u8, u8>(&*name, SHORT).unwrap_err(), ConnectError::TimedOut);
    drop(strangers);
    let (here, there) = meet(&listener, Address::new(name));
    assert!(here.is_ok() && there.is_ok(), "there is room again");
}

#[test]
fn the_key_and_the_types_must_fit() {
    let name = name();
    let listener = Listener::<u8, u16>::bind(Address::new(&name).key("secret")).unwrap();
    let refused = |address: Address| {
        std::thread::scope(|scope| {
            let connecting = scope.spawn(|| connect_timeout::<u16, u8>(address, LONG).map(drop));
            while !connecting.is_finished() {
                assert!(listener.accept_timeout(SHORT).is_err());
            }
            connecting.join().unwrap()
        })
    };
    assert_eq!(refused(Address::new(&name)), Err(ConnectError::Unauthorised));
    assert_eq!(refused(Address::new(&name).key("Secret")), Err(ConnectError::Unauthorised));
    let wrong_type = std::thread::scope(|scope| {
        let connecting =
            scope.spawn(|| connect_timeout::<u8, u16>(Address::new(&name).key("secret"), LONG).map(drop));
        while !connecting.is_finished() {
            assert!(listener.accept_timeout(SHORT).is_err());
        }
        connecting.join().unwrap()
    });
    let error = wrong_type.unwrap_err();
    let ConnectError::WrongType { name: of, sends, receives } = &error else { panic!("{error}") };
    assert_eq!(*of, name);
    assert!(sends.starts_with("`u8` of fingerprint "), "{sends}");
    assert!(receives.starts_with("`u16` of fingerprint "), "{receives}");
    let says =
        format!("the listener {name:?} does not receive {sends} and send {receives}, as this side expects");
    assert_eq!(error.to_string(), says);
    let (here, there) = meet(&listener, Address::new(&name).key("secret"));
    here.unwrap().send(&1).unwrap();
    assert_eq!(there.unwrap().recv(), Ok(1));
}

#[test]
fn silent_and_hostile_peers_delay_no_others() {
    let name = name();
    let listener = Listener::<u8, u8>::bind(&*name).unwrap();
    let silent: Vec<UnixStream> = (0..20).map(|_| stranger(&name)).collect();
    let mut garbage = stranger(&name);
    garbage.write_all(&[0xff; 64]).unwrap();
    let mut endless = stranger(&name);
    endless.write_all(&vec![7; 100_000]).unwrap();
    drop(stranger(&name));
    let started = mp_sys::deadline::now_nanos();
    let (here, there) = meet(&listener, Address::new(&name));
    here.unwrap().send(&5).unwrap();
    assert_eq!(there.unwrap().recv(), Ok(5));
    // That is long before the silent peers run out of time.
    assert!(mp_sys::deadline::now_nanos() - started < 4_000_000_000);
    // The peer that sent garbage gets a verdict, and the stream ends.
    let mut answer = Vec::new();
    garbage.read_to_end(&mut answer).unwrap();
    assert_eq!(answer[8], 1, "malformed");
    drop(silent);
}

#[test]
fn one_handshake_too_many_ends_the_oldest() {
    let name = name();
    let listener = Listener::<u8, u8>::bind(&*name).unwrap();
    let mut silent = Vec::new();
    for _ in 0..HANDSHAKES_MAX {
        silent.push(stranger(&name));
        assert!(listener.try_accept().is_err());
    }
    silent[0].set_nonblocking(true).unwrap();
    let still_open = |stream: &mut UnixStream| stream.read(&mut [0]).is_err();
    assert!(still_open(&mut silent[0]));
    silent.push(stranger(&name));
    assert!(listener.try_accept().is_err());
    assert_eq!(silent[0].read(&mut [0]).unwrap(), 0, "the listener ended it");
    silent[1].set_nonblocking(true).unwrap();
    assert!(still_open(&mut silent[1]));
    assert!(meet(&listener, Address::new(&name)).1.is_ok());
}

#[test]
fn a_foreign_program_that_has_the_name_is_an_error() {
    let name = name();
    let address = SocketAddr::from_abstract_name(format!("mp.{name}")).unwrap();
    let other = UnixListener::bind_addr(&address).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n HTTP/1.1 400 Bad Request"[..], b""] {
                let (mut stream, _) = other.accept().unwrap();
                stream.write_all(answer).unwrap();
                // Waits until the other side has read the answer and has gone.
                drop(stream.read(&mut [0; 64]));
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                drop(stream.read(&mut [0; 64]));
            }
        });
        assert_eq!(connect_timeout::<u8, u8>(&*name, LONG).unwrap_err(), ConnectError::Malformed);
        assert_eq!(connect_timeout::<u8, u8>(&*name, LONG).unwrap_err(), ConnectError::Closed);
    });
}

/// Writes one byte after the other, slowly, until all are written or the other side is gone. Returns how many it wrote.
fn trickle(stream: &mut UnixStream, bytes: &[u8]) -> usize {
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut is_taken = |byte: u8| {
        let is_open = stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        is_open && stream.write_all(&[byte]).is_ok()
    };
    bytes.iter().take_while(|byte| is_taken(**byte)).count()
}

#[test]
fn a_listener_that_does_not_finish_its_answer_is_an_error() {
    let name = name();
    let address = SocketAddr::from_abstract_name(format!("mp.{name}")).unwrap();
    let other = UnixListener::bind_addr(&address).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut bogus, _) = other.accept().unwrap();
            bogus.write_all(b"something bogus").unwrap();
            drop(bogus.read(&mut [0; 64]));
            assert_eq!(bogus.read(&mut [0]).unwrap_or(0), 0, "the other side closes the stream");
            let (mut slow, _) = other.accept().unwrap();
            slow.read_exact(&mut [0; 64]).unwrap();
            slow.write_all(b"mp-conn1").unwrap();
            assert!(trickle(&mut slow, &[0; 39]) < 39, "the other side closes the stream");
        });
        // Neither call has its own timeout.
        assert_eq!(connect::<u8, u8>(&*name).unwrap_err(), ConnectError::Malformed);
        assert_eq!(connect::<u8, u8>(&*name).unwrap_err(), ConnectError::TimedOut);
    });
}

#[test]
fn a_peer_that_never_finishes_is_ended() {
    let name = name();
    let listener = Listener::<u8, u8>::bind(&*name).unwrap();
    std::thread::scope(|scope| {
        let accepting = scope.spawn(|| listener.accept_timeout(LONG).map(drop));
        let mut slow = stranger(&name);
        slow.write_all(b"mp-conn1").unwrap();
        assert!(trickle(&mut slow, &[0; 55]) < 55, "the listener ends the handshake");
        connect_timeout::<u8, u8>(&*name, LONG).unwrap();
        accepting.join().unwrap().unwrap();
    });
}

#[test]
fn a_listener_can_be_waited_for() {
    let name = name();
    let listener = Listener::<u8, u8>::bind(&*name).unwrap();
    let (_tx, rx) = kernel_ipc::pipe::<u8>().unwrap();
    let sources: [&dyn AsFd; 2] = [&rx, &listener];
    assert!(kernel_ipc::wait(&sources, SHORT).unwrap().is_empty());
    std::thread::scope(|scope| {
        let connecting = scope.spawn(|| connect_timeout::<u8, u8>(&*name, LONG).map(drop));
        assert_eq!(kernel_ipc::wait(&sources, LONG).unwrap(), [1]);
        listener.accept_timeout(LONG).unwrap();
        connecting.join().unwrap().unwrap();
    });
}

#[test]
fn several_threads_accept() {
    let name = name();
    let listener = Listener::<u8, u8>::bind(&*name).unwrap();
    std::thread::scope(|scope| {
        let accepting: Vec<_> =
            (0..4).map(|_| scope.spawn(|| listener.accept_timeout(LONG).map(drop))).collect();
        let connecting: Vec<_> =
            (0..4).map(|_| scope.spawn(|| connect_timeout::<u8, u8>(&*name, LONG).map(drop))).collect();
        accepting.into_iter().for_each(|side| side.join().unwrap().unwrap());
        connecting.into_iter().for_each(|side| side.join().unwrap().unwrap());
    });
}

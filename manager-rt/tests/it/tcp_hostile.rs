//! Hostile connections from other hosts, beside a legitimate client: it is served, and whoever does not prove the key in time
//! is disconnected.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use manager_rt::limits::{HANDSHAKE_TIME_MAX, UNSENT_BYTES_MAX};
use manager_rt::{CallError, Manager, ObjectError, Value};
use mp_sys::testing::{PATIENCE, Random, eventually};

use crate::tcp::{KEY, LOOPBACK, connect, started};
use crate::tcp_relay::TcpRelay;

/// Connections that say nothing.
const SILENT: usize = 1_000;
/// The length of the first message of a handshake, in bytes.
const HELLO_BYTES: usize = 48;

/// Connects without a word.
fn stranger(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address.strip_prefix("mp+tcp://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Checks that the server ends a connection, and has said nothing.
fn is_ended(stream: &mut TcpStream) {
    match stream.read(&mut [0; 64]) {
        Ok(0) => {}
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {}
        outcome => panic!("{outcome:?}"),
    }
}

/// Calls the manager until the end of `body`, which is what happens beside these calls. Each of them succeeds.
fn beside<T: Send>(address: &str, body: impl FnOnce() -> T + Send) -> T {
    let client = connect(address, KEY);
    let counter: Value<u64> = client.named("legitimate").value(&0_u64).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let hostile = scope.spawn(|| {
            let outcome = body();
            is_over.store(true, Ordering::Relaxed);
            outcome
        });
        let mut calls = counter.get().unwrap();
        while !is_over.load(Ordering::Relaxed) && !hostile.is_finished() {
            assert_eq!(counter.fetch_add(1).unwrap(), calls);
            calls += 1;
            // Others can connect all the time, too.
            if calls.is_multiple_of(1_000) {
                assert_eq!(
                    connect(address, KEY).named("legitimate").value(&0_u64).unwrap().get().unwrap(),
                    calls
                );
            }
        }
        hostile.join().unwrap()
    })
}

#[test]
fn a_thousand_silent_connections_are_ended_in_time() {
    let manager = started();
    let address = manager.tcp_address().unwrap();
    let mut silent: Vec<_> = (0..SILENT).map(|_| stranger(&address)).collect();
    beside(&address, || silent.iter_mut().for_each(is_ended));
    eventually("only the manager is connected", || manager.info().unwrap().clients == 1);
    manager.shutdown().unwrap();
}

#[test]
fn a_handshake_byte_by_byte_is_ended_in_time() {
    let manager = started();
    let address = manager.tcp_address().unwrap();
    let slow = |mut stream: TcpStream| {
        // Less than the whole message, with as much time as the handshake has before each byte.
        stream.set_read_timeout(Some(HANDSHAKE_TIME_MAX / 40)).unwrap();
        for _ in 0..HELLO_BYTES * 4 {
            match stream.read(&mut [0]) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                _ => return,
            }
            if stream.write_all(&[7]).is_err() {
                return;
            }
        }
        panic!("the server takes bytes for ever");
    };
    beside(&address, || {
        std::thread::scope(|scope| {
            for _ in 0..20 {
                let stream = stranger(&address);
                scope.spawn(move || slow(stream));
            }
        });
    });
    manager.shutdown().unwrap();
}

#[test]
fn garbage_is_not_answered() {
    let manager = started();
    let address = manager.tcp_address().unwrap();
    let mut random = Random::seeded(15);
    beside(&address, || {
        for len in [1, HELLO_BYTES - 1, HELLO_BYTES, HELLO_BYTES + 1, 4_096, 1 << 20] {
            for _ in 0..5 {
                let bytes: Vec<u8> = (0..len).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
                let mut stream = stranger(&address);
                // The server may end the connection before all is written.
                drop(stream.write_all(&bytes));
                if len < HELLO_BYTES {
                    drop(stream.shutdown(std::net::Shutdown::Write));
                }
                is_ended(&mut stream);
            }
        }
    });
    eventually("only the manager is connected", || manager.info().unwrap().clients == 1);
    manager.shutdown().unwrap();
}

/// Lets a client with the key connect, and puts bytes of somebody else behind what it sends.
fn inject(address: &str, bytes: &[u8]) {
    let relay = TcpRelay::to(address);
    let client = relay.client(KEY);
    client.named("legitimate").value(&0_u64).unwrap();
    relay.inject(bytes);
    let outcome = eventually_fails(&client);
    assert!(matches!(outcome, CallError::ServerGone | CallError::OutcomeUnknown), "{outcome:?}");
}

/// Calls a manager until that fails.
fn eventually_fails(client: &Manager) -> CallError {
    let error = std::cell::Cell::new(None);
    eventually("a call fails", || {
        error.set(client.names().err());
        error.get().is_some()
    });
    error.get().unwrap()
}

#[test]
fn records_of_somebody_else_end_only_their_connection() {
    let manager = started();
    let address = manager.tcp_address().unwrap();
    let record = |len: u16, body: usize| [&len.to_le_bytes()[..], &vec![7; body]].concat();
    beside(&address, || {
        // Without contents, shorter than its mark, longer than any record, forged, and cut short.
        for bytes in [record(0, 0), record(16, 16), record(u16::MAX, 0), record(64, 64), record(200, 100)] {
            inject(&address, &bytes);
        }
    });
    manager.shutdown().unwrap();
}

#[test]
fn a_client_that_reads_nothing_harms_no_other_and_counts_as_lost() {
    let at = format!("{LOOPBACK}?lost_after=2s");
    let manager = Manager::builder().key(KEY).tcp(at).start().unwrap();
    let address = manager.tcp_address().unwrap();
    let long = vec![7_u8; UNSENT_BYTES_MAX];
    manager.named("long").value(&long).unwrap();
    let relay = TcpRelay::to(&address);
    let deaf = relay.client(KEY);
    let value = deaf.named("long").value::<Vec<u8>>(&Vec::new()).unwrap();
    let lock = deaf.named("lock").lock().unwrap();
    let held = lock.lock().unwrap();
    relay.deafen();
    let get_all = || deaf.pipeline(|p| (0..64).map(|_| p.on(&value).get()).collect::<Vec<_>>());
    let outcomes = beside(&address, || {
        std::thread::scope(|scope| {
            let reading = scope.spawn(get_all);
            // The server lets go of it, and of what it held.
            let taken = manager.named("lock").lock().unwrap();
            assert!(taken.lock_timeout(PATIENCE).unwrap_err().into_guard().is_some());
            relay.sever();
            reading.join().unwrap()
        })
    });
    let is_lost = |error: &ObjectError| {
        matches!(error, ObjectError::Call(CallError::ServerGone | CallError::OutcomeUnknown))
    };
    match outcomes {
        Err(error) => assert!(is_lost(&error), "{error:?}"),
        Ok(outcomes) => {
            let lost = outcomes.iter().filter(|outcome| outcome.as_ref().is_err_and(is_lost));
            assert!(lost.count() > 0, "some answers were never read");
        }
    }
    assert!(!held.is_valid());
    manager.shutdown().unwrap();
}

#[test]
fn an_address_in_use_is_named_and_the_living_server_is_unharmed() {
    let manager = started();
    let address = manager.tcp_address().unwrap();
    let place = address.strip_prefix("mp+tcp://").unwrap();
    let refused = Manager::builder().key(KEY).tcp(place).start().unwrap_err();
    assert!(refused.to_string().contains(place), "{refused}");
    assert!(connect(&address, KEY).names().is_ok());
    manager.shutdown().unwrap();
}

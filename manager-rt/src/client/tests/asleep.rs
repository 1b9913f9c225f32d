//! Everything that must wake a reader that sleeps until something arrives.

use super::*;
use crate::client::connection::Failure;

/// More notices than the socket accepts.
const NOTICES: u64 = 100_000;

/// Waits in a thread other than the reader until the reader sleeps.
fn wait_for_sleep(connection: &Connection) {
    let deadline = soon();
    while !connection.is_asleep() {
        assert!(!deadline.has_passed(), "nothing arrives, so the reader sleeps");
        std::thread::yield_now();
    }
}

#[test]
fn a_rest_that_the_socket_refused_is_written_without_further_calls() {
    let (connection, mut peer) = Fake::new().plain();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| connection.call(&acquire(), soon()));
        let (waiting, _) = peer.call();
        wait_for_sleep(&connection);
        for token in 0..NOTICES {
            connection.notice(3, ObjectId(5), Op::Lock(LockOp::Release { token }));
        }
        for token in 0..NOTICES {
            assert_eq!(peer.notice(), Op::Lock(LockOp::Release { token }));
        }
        wait_for_sleep(&connection);
        peer.answer(waiting, granted(1));
        assert_eq!(reader.join().unwrap(), Ok(granted(1)));
    });
}

#[test]
fn an_answer_the_end_and_its_own_deadline_wake_it() {
    let (connection, mut peer) = Fake::new().plain();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| connection.call(&acquire(), Deadline::after(Duration::from_millis(200))));
        let (late, _) = peer.call();
        wait_for_sleep(&connection);
        assert_eq!(reader.join().unwrap(), Err(Failure::Late));
        assert_eq!(peer.control().1, Control::Cancel { call: late });
        let reader = scope.spawn(|| connection.call(&acquire(), soon()));
        let (waiting, _) = peer.call();
        wait_for_sleep(&connection);
        peer.answer(waiting, granted(1));
        assert_eq!(reader.join().unwrap(), Ok(granted(1)));
        let reader = scope.spawn(|| connection.call(&acquire(), soon()));
        peer.call();
        wait_for_sleep(&connection);
        peer.close();
        assert_eq!(reader.join().unwrap(), Err(Failure::Unknown));
    });
}

/// A client that abandons its connection ends it for the reading thread too.
#[test]
fn an_abandoned_connection_wakes_it() {
    let (connection, mut peer) = Fake::new().plain();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| connection.call(&acquire(), soon()));
        peer.call();
        wait_for_sleep(&connection);
        // The server reads, but does not answer.
        scope.spawn(move || while peer.frame().is_some() {});
        // Calls for which there is no room do not count.
        let deadline = soon();
        let call = || connection.call(&acquire(), Deadline::after(Duration::ZERO));
        let given_up = std::iter::repeat_with(call)
            .take_while(|_| !deadline.has_passed())
            .any(|called| called == Err(Failure::NotSent));
        assert!(given_up, "the server answers none of them");
        assert_eq!(reader.join().unwrap(), Err(Failure::Unknown));
    });
}

//! Proxies that leave in messages: the server must learn of it, even if this process is killed at once.

use super::*;
use crate::client::connection::Failure;
use crate::proto::ValueOp;

const ONE: ObjectId = ObjectId(11);

fn transit() -> Op<Payload> {
    manager_op(ManagerOp::Transit(vec![ONE]))
}

#[test]
fn the_kernel_has_a_transit_before_the_message_leaves_although_another_thread_writes() {
    let fake = Fake::new();
    let (connection, mut peer) = fake.plain();
    let long = vec![7; 8 << 20];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let op = Op::Value(ValueOp::Store(Raw::plain(&long)));
            let call = Call { object: ObjectId(9), thread: 1, wait: Wait::No, op };
            assert!(connection.call(&call, soon()).is_err(), "the connection ends");
        });
        let mut head = [0; HEAD_BYTES];
        peer.stream.read_exact(&mut head).unwrap();
        let sender = scope.spawn(|| {
            let sent = connection.hand_over(ManagerOp::Transit(vec![ONE]), soon());
            // As a kill does, this ends the connection with what the kernel has.
            connection.sever();
            sent
        });
        mp_sys::testing::eventually("the transit waits behind the long frame", || {
            connection.waiting_bytes() > 0 || sender.is_finished()
        });
        let mut rest = vec![0; Head::of(&head).unwrap().body_len.try_into().unwrap()];
        peer.stream.read_exact(&mut rest).unwrap();
        assert_eq!(peer.notice(), transit());
        assert_eq!(sender.join().unwrap(), Ok(()));
        assert!(peer.frame().is_none());
    });
}

#[test]
fn a_transit_that_the_end_of_all_calls_removes_is_not_sent() {
    let fake = Fake::new();
    let (connection, mut peer) = fake.plain();
    let long = vec![7; 8 << 20];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let op = Op::Value(ValueOp::Store(Raw::plain(&long)));
            let call = Call { object: ObjectId(9), thread: 1, wait: Wait::No, op };
            assert!(connection.call(&call, soon()).is_err(), "all calls have ended");
        });
        let mut head = [0; HEAD_BYTES];
        peer.stream.read_exact(&mut head).unwrap();
        let sender = scope.spawn(|| connection.hand_over(ManagerOp::Transit(vec![ONE]), soon()));
        mp_sys::testing::eventually("the transit waits behind the long frame", || {
            connection.waiting_bytes() > 0 || sender.is_finished()
        });
        connection.end_calls();
        let mut rest = vec![0; Head::of(&head).unwrap().body_len.try_into().unwrap()];
        peer.stream.read_exact(&mut rest).unwrap();
        assert_eq!(sender.join().unwrap(), Err(Failure::NotSent));
        connection.sever();
        assert!(peer.frame().is_none());
    });
}

#[test]
fn a_transit_reads_if_the_server_waits_until_its_answers_are_read() {
    let fake = Fake::new();
    let (connection, mut peer) = fake.plain();
    // Nobody waits for the answers to what was given up.
    let late = connection.call(&acquire(), Deadline::after(Duration::ZERO));
    assert_eq!(late, Err(Failure::Late));
    let (late, _) = peer.call();
    assert_eq!(peer.control().1, Control::Cancel { call: late });
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            // The client's socket is full of these before the server reads anything.
            let long = Reply::Value(Payload::copy(Raw::plain(&vec![7; 8 << 20])));
            peer.answer(late, Ok(long));
            loop {
                match peer.frame() {
                    Some((_, body))
                        if postcard::from_bytes::<Call<Payload>>(&body)
                            .is_ok_and(|call| call.op == transit()) =>
                    {
                        return;
                    }
                    Some(_) => {}
                    None => panic!("no transit"),
                }
            }
        });
        let mut sent = 0;
        while connection.waiting_bytes() == 0 && sent < 1 << 16 {
            connection.notice(1, ObjectId(9), Op::Value(ValueOp::Store(Raw::plain(&[7; 30_000]))));
            sent += 1;
        }
        assert_eq!(connection.hand_over(ManagerOp::Transit(vec![ONE]), soon()), Ok(()));
        server.join().unwrap();
    });
}

#[test]
fn a_transit_over_a_broken_connection_makes_a_new_one_and_fails_without_a_server() {
    let fake = Fake::new();
    let (remote, peer) = fake.connected();
    remote.adopt(ONE);
    drop(peer);
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut peer = fake.accept(EPOCH);
            let (call, op) = peer.call();
            assert_eq!(op, manager_op(ManagerOp::Attach(vec![ONE])));
            peer.answer(call, Ok(Reply::Done));
            assert_eq!(peer.notice(), transit());
            peer
        });
        assert_eq!(remote.transit(ONE), Ok(()));
        drop(server.join().unwrap());
    });
    drop(fake);
    assert_eq!(remote.transit(ONE), Err(CallError::ServerGone));
}

//! When references are requested, and when they are released.

use super::*;
use crate::client::bequest::Bequeaths;
use crate::proto::{Fault, Step};
use crate::wire::frame::heirs_hello;

const ONE: ObjectId = ObjectId(11);
const OTHER: ObjectId = ObjectId(12);

fn detached(object: ObjectId) -> Op<Payload> {
    manager_op(ManagerOp::Detach { references: vec![(object, 1)], lingers: false })
}

#[test]
fn only_the_first_proxy_requests_and_the_last_releases() {
    let (remote, mut peer) = Fake::new().connected();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (call, op) = peer.call();
            assert_eq!(op, manager_op(ManagerOp::Attach(vec![ONE])));
            peer.answer(call, Ok(Reply::Done));
            // The first adopted reference is that of this process. The second is one too many.
            assert_eq!(peer.notice(), detached(OTHER));
            assert_eq!(peer.notice(), detached(OTHER));
            assert_eq!(peer.notice(), detached(ONE));
            let (call, op) = peer.call();
            assert_eq!(op, manager_op(ManagerOp::Attach(vec![ONE])), "this proxy is the first again");
            peer.answer(call, Err(Fault::UnknownObject));
            let (call, _) = peer.call();
            peer.answer(call, Ok(Reply::Done));
        });
        remote.attach(ONE).unwrap();
        remote.attach(ONE).unwrap();
        remote.adopt(OTHER);
        remote.adopt(OTHER);
        remote.detach(OTHER);
        remote.detach(OTHER);
        remote.detach(ONE);
        remote.detach(ONE);
        assert_eq!(remote.attach(ONE), Err(CallError::Fault(Fault::UnknownObject)));
        remote.detach(ONE);
        ask(&remote, ONE, manager_op(ManagerOp::Names), Wait::No).unwrap();
        server.join().unwrap();
    });
}

#[test]
fn a_new_connection_first_requests_all_references() {
    let fake = Fake::new();
    let (remote, peer) = fake.connected();
    remote.adopt(ONE);
    remote.adopt(OTHER);
    drop(peer);
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut peer = fake.accept(EPOCH);
            let (call, op) = peer.call();
            let Op::Manager(ManagerOp::Attach(mut objects)) = op else { panic!("{op:?}") };
            objects.sort_unstable();
            assert_eq!(objects, [ONE, OTHER]);
            // One of them was removed, so each is then requested separately.
            peer.answer(call, Err(Fault::UnknownObject));
            for _ in 0..2 {
                let (call, op) = peer.call();
                let Op::Manager(ManagerOp::Attach(objects)) = op else { panic!("{op:?}") };
                let gone = objects == [OTHER];
                peer.answer(call, if gone { Err(Fault::UnknownObject) } else { Ok(Reply::Done) });
            }
            let (call, op) = peer.call();
            assert_eq!(op, manager_op(ManagerOp::Names));
            peer.answer(call, Ok(Reply::Done));
            assert_eq!(peer.notice(), detached(ONE));
        });
        ask(&remote, ONE, manager_op(ManagerOp::Names), Wait::No).unwrap();
        remote.attach(ONE).unwrap();
        remote.detach(ONE);
        remote.detach(ONE);
        server.join().unwrap();
    });
}

#[test]
fn a_reference_that_is_refused_on_a_new_connection_is_requested_by_the_calls_of_its_object() {
    let fake = Fake::new();
    let (remote, peer) = fake.connected();
    remote.adopt(ONE);
    remote.adopt(OTHER);
    drop(peer);
    let full = Fault::TooMany { limit: 1 };
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut peer = fake.accept(EPOCH);
            let (call, _) = peer.call();
            peer.answer(call, Err(full));
            for _ in 0..2 {
                let (call, op) = peer.call();
                let is_refused = op == manager_op(ManagerOp::Attach(vec![OTHER]));
                peer.answer(call, if is_refused { Err(full) } else { Ok(Reply::Done) });
            }
            let again = || manager_op(ManagerOp::Attach(vec![OTHER]));
            let names = || manager_op(ManagerOp::Names);
            // The second one is of a proxy that is cloned, and the third of a pipeline.
            for (expected, answer) in [
                (names(), Ok(Reply::Done)),
                (again(), Err(full)),
                (again(), Err(full)),
                (again(), Err(full)),
                (again(), Ok(Reply::Done)),
                (names(), Ok(Reply::Done)),
                (names(), Ok(Reply::Done)),
            ] {
                let (call, op) = peer.call();
                assert_eq!(op, expected);
                peer.answer(call, answer);
            }
            assert_eq!(peer.notice(), detached(OTHER));
            assert_eq!(peer.notice(), detached(ONE));
        });
        let names = |object| ask(&remote, object, manager_op(ManagerOp::Names), Wait::No);
        assert!(names(ONE).is_ok(), "calls of other objects go on");
        assert_eq!(names(OTHER), Err(full.into()), "the operation is not sent");
        remote.attach(OTHER).unwrap();
        assert_eq!(names(OTHER), Err(full.into()));
        assert!(remote.open_pipeline().is_none());
        let steps = vec![Step { object: OTHER, op: manager_op(ManagerOp::Names) }];
        assert_eq!(remote.pipeline(1, steps), Err(full.into()));
        assert!(names(OTHER).is_ok() && names(OTHER).is_ok(), "it is requested once");
        remote.detach(OTHER);
        remote.detach(OTHER);
        remote.detach(ONE);
        server.join().unwrap();
    });
}

/// What was held over the broken connection is reported as soon as other threads can use the new one.
#[test]
fn what_a_new_connection_lacks_is_known_before_it_can_be_used() {
    let fake = Fake::new();
    let (remote, mut peer) = fake.connected();
    remote.adopt(ONE);
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let server = scope.spawn(move || {
            let (call, _) = peer.call();
            peer.answer(call, granted(1));
            peer
        });
        ask(&remote, OTHER, acquire().op, Wait::Forever).unwrap();
        let peer = server.join().unwrap();
        let other = Arc::clone(&remote);
        let lost = move || sender.send(other.local().references.is_lacking()).unwrap();
        remote.watch(OTHER, 1, Box::new(lost));
        drop(peer);
        remote.local().present().unwrap().check();
        let server = scope.spawn(|| {
            let mut peer = fake.accept(EPOCH);
            let full = Err(Fault::TooMany { limit: 1 });
            for answer in [full.clone(), full, Ok(Reply::Done)] {
                let (call, _) = peer.call();
                peer.answer(call, answer);
            }
        });
        ask(&remote, OTHER, manager_op(ManagerOp::Names), Wait::No).unwrap();
        server.join().unwrap();
    });
    assert_eq!(receiver.try_recv(), Ok(true));
}

/// Accepts the socket of a bequest and the notice of it.
fn bequest(fake: &Fake, peer: &mut Peer) -> UnixStream {
    let mut heirs = fake.accept_stranger().stream;
    let mut hello = vec![0; heirs_hello(0).len()];
    heirs.read_exact(&mut hello).unwrap();
    let Op::Manager(ManagerOp::Bequeath { bequest }) = peer.notice() else { panic!("a bequest") };
    assert_eq!(hello, heirs_hello(bequest));
    heirs
}

#[test]
fn a_bequest_that_the_server_has_closed_is_made_again_before_the_next_fork() {
    let fake = Fake::new();
    let (remote, mut peer) = fake.connected();
    remote.adopt(ONE);
    remote.before_fork(soon());
    let heirs = bequest(&fake, &mut peer);
    remote.before_fork(soon());
    drop(heirs);
    remote.before_fork(soon());
    let _heirs = bequest(&fake, &mut peer);
    remote.before_fork(soon());
    remote.detach(ONE);
    assert_eq!(peer.notice(), detached(ONE), "a bequest that is there is used again");
}

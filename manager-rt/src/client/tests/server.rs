//! The client and the server of this crate together.

use super::*;
use crate::proto::{Fault, Spec, Step, ValueOp};
use crate::server::{Server, Stopper};

pub(super) struct Stops(pub(super) Stopper);

impl Drop for Stops {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Runs `body` with a client of a server.
fn with_server(body: impl FnOnce(&Address, Arc<Remote>)) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::builder().key(KEY).bind(folder.path().join("manager.sock")).unwrap();
    let (address, stopper) = (server.address().clone(), server.stopper());
    std::thread::scope(|scope| {
        scope.spawn(|| server.serve().unwrap());
        // Stops the server even after a panic, since the scope would otherwise wait for it.
        let _stops = Stops(stopper);
        body(&address, Remote::connect(&address, &KEY.into(), soon()).unwrap());
    });
}

fn create(remote: &Remote, spec: Spec<Raw<'_>>) -> ObjectId {
    let made = manager_op(ManagerOp::Create { spec, print: 1 });
    match ask(remote, ObjectId::MANAGER, made, Wait::No) {
        Ok(Reply::Object { id, created: true }) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn values_long_and_short_come_back() {
    with_server(|_, remote| {
        let value = create(&remote, Spec::Value(Raw::plain(b"")));
        for len in [0, 1, 22, 23, 70_000, 5_000_000] {
            let bytes = vec![1; len];
            ask(&remote, value, Op::Value(ValueOp::Set(Raw::plain(&bytes))), Wait::No).unwrap();
            let Ok(Reply::Value(found)) = ask(&remote, value, Op::Value(ValueOp::Get), Wait::No) else {
                panic!("a value")
            };
            assert_eq!(found.raw().bytes, bytes);
        }
        let step = |op| Step { object: value, op };
        let steps = || vec![step(Op::Value(ValueOp::Set(Raw::plain(b"x")))), step(Op::Value(ValueOp::Get))];
        let pipelined = remote.pipeline(1, steps()).unwrap();
        let x = Reply::Value(Payload::copy(Raw::plain(b"x")));
        assert_eq!(pipelined.last(), Some(&Ok(x.clone())));
        assert_eq!(remote.transaction(1, steps()).unwrap().last(), Some(&x));
    });
}

#[test]
fn threads_of_one_connection_take_turns_at_a_lock() {
    with_server(|_, remote| {
        let lock = create(&remote, Spec::Lock);
        let counter = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let acquire = Op::Lock(LockOp::Acquire { lease: 0 });
                        let Ok(Reply::Granted { token, .. }) = ask(&remote, lock, acquire, Wait::Forever)
                        else {
                            panic!("a grant")
                        };
                        let inside = counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        assert_eq!(inside, 0);
                        counter.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
                        ask(&remote, lock, Op::Lock(LockOp::Release { token }), Wait::No).unwrap();
                    }
                });
            }
        });
    });
}

#[test]
fn the_server_ends_waits_and_the_client_releases_its_references() {
    with_server(|address, remote| {
        let lock = create(&remote, Spec::Lock);
        let other = Remote::connect(address, &KEY.into(), soon()).unwrap();
        let acquire = || Op::Lock(LockOp::Acquire { lease: 0 });
        remote.adopt(lock);
        other.attach(lock).unwrap();
        ask(&remote, lock, acquire(), Wait::No).unwrap();
        let timed_out = ask(&other, lock, acquire(), Wait::For(1_000_000));
        assert_eq!(timed_out, Err(Fault::TimedOut.into()));
        // The connection ends with the last handle, and so does everything that it held.
        drop(remote);
        assert!(ask(&other, lock, acquire(), Wait::Forever).is_ok());
        other.detach(lock);
        let gone = ask(&other, lock, Op::Lock(LockOp::IsLocked), Wait::No);
        assert_eq!(gone, Err(Fault::UnknownObject.into()));
    });
}

//! The times of what happens in one round.

use super::unread::paused;
use super::*;
use crate::state::Effects;

/// A lease that ends in an hour, so that nothing ends here by itself.
const LEASE: u64 = 3_600_000_000_000;

fn acquire(lease: u64) -> Op<Raw<'static>> {
    Op::Lock(LockOp::Acquire { lease })
}

/// Two clients take a lock each, and a third one gets the lock of a client that ends, all in one round: each of these turns
/// may take long, so the leases begin one after another.
#[test]
fn a_lease_begins_in_the_turn_that_grants_the_lock_and_not_with_its_round() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manager.sock");
    let (mut server, (mut takers, locks, holder, _waiter)) =
        paused(Server::bind(&path).unwrap(), &path, || {
            let [mut holder, mut waiter, mut other] = [(); 3].map(|()| Client::connect(&path, b"").unwrap());
            let takers = [(); 2].map(|()| Client::connect(&path, b"").unwrap());
            let locks = ["one", "two", "three"].map(|name| other.open(name, Spec::Lock));
            holder.ask(locks[2], acquire(0)).unwrap();
            waiter.send(locks[2], Wait::Forever, acquire(LEASE));
            let deadline = Deadline::after(mp_sys::testing::PATIENCE);
            while !matches!(other.manager(ManagerOp::Info), Ok(Reply::Info(info)) if info.waiters == 1) {
                assert!(!deadline.has_passed(), "nobody waits");
            }
            (takers, locks, holder, (waiter, other))
        });
    for (taker, lock) in takers.iter_mut().zip(locks) {
        taker.send(lock, Wait::Forever, acquire(LEASE));
    }
    drop(holder);
    server.work.round(&mut mio::Events::with_capacity(64)).unwrap();
    // Leases that end at the same time end together here.
    let (state, mut ends) = (&mut server.work.state, Vec::new());
    while let Some(at) = state.next_deadline() {
        state.advance(at, &mut Effects::default());
        ends.push(at);
        assert!(ends.len() <= 3, "{ends:?}");
    }
    assert_eq!(ends.len(), 3, "each has its own time: {ends:?}");
}

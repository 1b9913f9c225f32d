//! Holders of locks that are stopped, or whose Redis is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use manager_rt::Manager;
use mp_sys::reexec::Handed;
use mp_sys::testing::{eventually, is_in_state};
use rustix::process::Signal;

use crate::There;
use crate::deaths::{Holder, PATIENCE, heard, signal, tell};
use crate::lines::guard;
use crate::server::Server;

/// The holder knows it while Redis is still stopped, so nobody else can have the lock yet.
#[test]
fn who_holds_a_lock_while_redis_is_stopped_for_longer_than_the_lease_knows_that_it_is_lost() {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let (one, other) = (Manager::connect(&there.leased("1s")).unwrap(), there.connect());
    let (lock, same) = (one.named("lock").lock().unwrap(), other.named("lock").lock().unwrap());
    drop(same.lock().unwrap());
    let held = guard(lock.lock_timeout(PATIENCE));
    let (lost, token) = (Arc::new(AtomicBool::new(false)), held.token());
    let told = Arc::clone(&lost);
    held.on_lost(move || told.store(true, Ordering::SeqCst));
    signal(server.id(), Signal::STOP);
    eventually("Redis is stopped", || is_in_state(server.id(), 'T'));
    eventually("the holder knows", || !held.is_valid());
    assert!(lost.load(Ordering::SeqCst));
    assert!(is_in_state(server.id(), 'T'));
    signal(server.id(), Signal::CONT);
    let next = guard(same.lock_timeout(PATIENCE));
    assert!(next.token() > token && next.is_valid());
    drop(held);
    assert!(next.is_valid() && same.is_locked().unwrap());
}

/// The main function of a process that takes a lock for a moment, and writes when it is asked to: nothing that is older than what is there.
fn write_late(handed: Handed) -> i32 {
    let manager = Manager::connect(&heard(&handed)).unwrap();
    let (lock, newest) = (manager.named("lock").lock().unwrap(), manager.named("newest").value(&0).unwrap());
    let held = guard(lock.lock_leased(Duration::from_millis(500)));
    tell(handed.endpoint(), "held");
    assert_eq!(heard(&handed), "write");
    let (token, found) = (held.token(), newest.get().unwrap());
    let is_written = token >= found && newest.compare_exchange(&found, &token).unwrap().is_ok();
    tell(handed.endpoint(), &format!("written: {is_written}, valid: {}", held.is_valid()));
    heard(&handed);
    0
}

#[test]
fn a_holder_that_was_stopped_while_its_lock_passed_on_is_refused_by_its_token() {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let manager = there.connect();
    let newest = manager.named("newest").value(&0_u64).unwrap();
    let stopped = Holder::start(write_late, &there.url());
    signal(stopped.child.id(), Signal::STOP);
    eventually("it is stopped", || is_in_state(stopped.child.id(), 'T'));
    let lock = manager.named("lock").lock().unwrap();
    let next = guard(lock.lock_timeout(PATIENCE));
    newest.set(&next.token()).unwrap();
    stopped.tell("write");
    signal(stopped.child.id(), Signal::CONT);
    assert_eq!(stopped.says(), "written: false, valid: false");
    assert!(next.is_valid());
    assert_eq!(newest.get(), Ok(next.token()));
}

//! Redis that is restarted while processes hold something in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use manager_rt::{LockError, Manager};
use mp_sys::testing::eventually;

use crate::There;
use crate::deaths::PATIENCE;
use crate::lines::guard;
use crate::server::Server;

/// Redis writes its data to the disk now and then. The lease is an hour, so no renewal would have been due.
#[test]
fn who_took_a_lock_after_the_last_snapshot_learns_that_redis_lost_it() {
    let mut server = Server::start(&["--appendonly", "no"]);
    let url = There::new(&server).leased("3600s");
    let (one, other) = (Manager::connect(&url).unwrap(), Manager::connect(&url).unwrap());
    let (lock, same) = (one.named("lock").lock().unwrap(), other.named("lock").lock().unwrap());
    // So the snapshot knows both sessions.
    drop((lock.lock().unwrap(), one.semaphore(1).unwrap()));
    drop(same.lock().unwrap());
    assert_eq!(server.cli(&["save"]), "OK");
    let held = lock.lock().unwrap();
    let (lost, token) = (Arc::new(AtomicBool::new(false)), held.token());
    let told = Arc::clone(&lost);
    held.on_lost(move || told.store(true, Ordering::SeqCst));
    server.restart();
    eventually("the holder learns of it", || !held.is_valid());
    assert!(lost.load(Ordering::SeqCst));
    let next = guard(same.lock_timeout(PATIENCE));
    assert!(next.token() > token);
    drop(held);
    assert!(next.is_valid() && lock.is_locked().unwrap(), "only its holder releases it");
    drop(next);
    drop(guard(lock.lock_timeout(PATIENCE)));
}

/// Nobody can tell that this Redis has everything.
#[test]
fn a_restart_of_redis_ends_sessions_and_no_wait() {
    let mut server = Server::start(&["--appendfsync", "always"]);
    let there = There::new(&server);
    let (url, namespace) = (there.leased("3600s"), there.namespace());
    let (one, other) = (Manager::connect(&url).unwrap(), Manager::connect(&url).unwrap());
    let (lock, same) = (one.named("lock").lock().unwrap(), other.named("lock").lock().unwrap());
    let held = lock.lock().unwrap();
    std::thread::scope(|scope| {
        // Its connection is lost while it waits.
        let next = scope.spawn(|| {
            let error = same.lock_timeout(PATIENCE).unwrap_err();
            assert!(matches!(error, LockError::OwnerDied(_)), "{error:?}");
        });
        eventually("it waits", || server.cli(&["hlen", &format!("{{{namespace}}}:waits")]) == "1");
        server.restart();
        next.join().unwrap();
    });
    eventually("the holder has learned of it", || !held.is_valid());
}

//! Redis that is restarted while processes hold something in it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use manager_rt::{GetError, LockError, Manager, PutError};
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

/// An item comes back whose consumer had read it, if Redis was killed before it knew that.
#[test]
fn no_item_is_lost_by_restarts_of_redis() {
    const EACH: u32 = 400;
    const RESTARTS: u32 = 3;
    let mut server = Server::start(&["--appendfsync", "always"]);
    let url = There::new(&server).url();
    let (put, taken, producing) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()), AtomicU32::new(2));
    let queue = || Manager::connect(&url).unwrap().named("queue").queue::<u32>().unwrap();
    std::thread::scope(|scope| {
        for producer in 0..2 {
            let (shared, put, producing) = (queue(), &put, &producing);
            scope.spawn(move || {
                for item in producer * EACH..(producer + 1) * EACH {
                    match shared.put(&item) {
                        Ok(()) => put.lock().unwrap().push(item),
                        Err(PutError::Object(_)) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
                producing.fetch_sub(1, Ordering::SeqCst);
            });
            let (shared, taken) = (queue(), &taken);
            scope.spawn(move || {
                loop {
                    let is_over = producing.load(Ordering::SeqCst) == 0;
                    match shared.get_timeout(Duration::from_millis(20)) {
                        Ok(item) => taken.lock().unwrap().push(item),
                        Err(GetError::TimedOut) if is_over => break,
                        Err(_) => {}
                    }
                }
            });
        }
        for _ in 0..RESTARTS {
            let before = taken.lock().unwrap().len();
            eventually("they go on", || {
                taken.lock().unwrap().len() > before + 10 || producing.load(Ordering::SeqCst) == 0
            });
            server.restart();
        }
    });
    // The sessions end with their clients, and what they had not read returns.
    let (shared, mut taken) = (queue(), taken.into_inner().unwrap());
    while let Ok(item) = shared.get_timeout(Duration::from_secs(2)) {
        taken.push(item);
    }
    let put = put.into_inner().unwrap();
    let lost: Vec<_> = put.iter().filter(|item| !taken.contains(item)).collect();
    assert!(lost.is_empty(), "{lost:?} of {}", put.len());
    for item in &taken {
        assert!(*item < 2 * EACH, "nobody has put {item}");
        let times = u32::try_from(taken.iter().filter(|other| *other == item).count()).unwrap();
        assert!(times <= 1 + RESTARTS, "{item} was taken {times} times");
    }
    assert!(put.len() > 20);
}

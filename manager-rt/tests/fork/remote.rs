//! Clients on another host that are killed or stopped, each beside others that wait for what they hold, and their forked
//! children.

use std::time::Duration;

use manager_rt::{GetError, JoinableQueue, Lock, LockError, Manager, Semaphore};
use mp_sys::testing::{PATIENCE, hang, kill, spawn, succeeded, tests};

use crate::bequests::Signalled;
use crate::fixture::{until, until_held};
use crate::frozen::freeze;

tests! {
    a_killed_remote_client_frees_what_it_held,
    a_stopped_remote_client_keeps_what_it_holds_though_it_is_silent,
    a_child_of_a_remote_client_has_what_its_parent_dropped,
    a_child_of_a_killed_remote_client_has_what_a_value_refers_to,
}

const KEY: &str = "a key that has at least 32 bytes";
/// Longer than a silent client has.
const LONG: Duration = Duration::from_millis(2_500);

/// Runs a test with a manager, and the address at which other hosts reach it.
fn with_remote(body: impl FnOnce(&Manager, &str)) {
    let manager = Manager::builder().key(KEY).tcp("127.0.0.1:0?lost_after=2s").start().unwrap();
    let address = manager.tcp_address().unwrap();
    body(&manager, &address);
    until(&manager, "everything is released", |info| (info.clients, info.waiters, info.held) == (1, 0, 0));
    manager.shutdown().unwrap();
}

fn connect(address: &str) -> Manager {
    Manager::builder().key(KEY).connect(address).unwrap()
}

fn objects(manager: &Manager) -> (Lock, Semaphore, JoinableQueue<u64>) {
    let lock = manager.named("lock").lock().unwrap();
    let semaphore = manager.named("semaphore").semaphore(1).unwrap();
    (lock, semaphore, manager.named("tasks").joinable_queue().unwrap())
}

/// Starts a client that holds a lock, a permit and a task.
fn holder(manager: &Manager, address: &str) -> mp_sys::child::ChildProcess {
    objects(manager).2.put(&1).unwrap();
    let holder = spawn(|| {
        let manager = connect(address);
        let (lock, semaphore, tasks) = objects(&manager);
        let _kept = (lock.lock().unwrap(), semaphore.acquire().unwrap(), tasks.get().unwrap());
        hang();
    });
    until_held(manager, 3);
    holder
}

/// Starts clients that wait for all this, and returns when they wait.
fn waiters(manager: &Manager, address: &str) -> [mp_sys::child::ChildProcess; 3] {
    let others = [
        spawn(|| {
            let taken = connect(address).named("lock").lock().unwrap();
            assert!(matches!(taken.lock_timeout(PATIENCE), Err(LockError::OwnerDied(_))));
        }),
        spawn(|| drop(objects(&connect(address)).1.acquire_timeout(PATIENCE).unwrap())),
        spawn(|| assert_eq!(objects(&connect(address)).2.get_timeout(PATIENCE).unwrap().done(), Ok(1))),
    ];
    until(manager, "they wait", |info| info.waiters == 3);
    others
}

fn a_killed_remote_client_frees_what_it_held() {
    with_remote(|manager, address| {
        let victim = holder(manager, address);
        let others = waiters(manager, address);
        kill(&victim);
        others.iter().for_each(succeeded);
    });
}

fn a_stopped_remote_client_keeps_what_it_holds_though_it_is_silent() {
    with_remote(|manager, address| {
        let victim = holder(manager, address);
        freeze(&victim);
        // Its kernel answers for it.
        let (lock, semaphore, tasks) = objects(manager);
        assert!(matches!(lock.lock_timeout(LONG), Err(LockError::TimedOut)));
        assert!(semaphore.acquire_timeout(LONG).is_err());
        assert_eq!(tasks.get_timeout(Duration::ZERO).map(drop), Err(GetError::TimedOut));
        drop((lock, semaphore, tasks));
        let others = waiters(manager, address);
        kill(&victim);
        others.iter().for_each(succeeded);
    });
}

fn a_child_of_a_remote_client_has_what_its_parent_dropped() {
    with_remote(|manager, address| {
        let client = connect(address);
        let (list, start) = (client.list::<u32>().unwrap(), Signalled::new());
        let child = spawn(|| {
            start.take();
            list.push(&7).unwrap();
            assert_eq!(list.to_vec(), Ok(vec![7]));
        });
        drop(list);
        // The server has heard of that before it answers.
        assert_eq!(client.names(), Ok(vec![]));
        start.give();
        succeeded(&child);
        drop(client);
        until(manager, "the child and the client are gone", |info| info.clients == 1);
    });
}

fn a_child_of_a_killed_remote_client_has_what_a_value_refers_to() {
    with_remote(|manager, address| {
        crate::bequests::with_orphan(
            manager,
            |start| {
                let client = connect(address);
                let list = client.list::<u32>().unwrap();
                // What a stored value refers to needs no proxy.
                client.named("kept").dict::<u8, _>().unwrap().insert(&0, &list).unwrap();
                let _child = spawn(|| {
                    start.take();
                    list.push(&7).unwrap();
                    assert_eq!(list.to_vec(), Ok(vec![7]));
                });
                crate::bequests::die();
            },
            || {},
        );
        manager.remove("kept").unwrap();
    });
}

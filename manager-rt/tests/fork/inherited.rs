//! What a forked or executed process has of its parent's manager.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use manager_rt::{LockError, Manager, Value};
use mp_sys::testing::{PATIENCE, hang, kill, spawn, spawn_beside_threads, spawn_holding, succeeded, tests};
use rustix::process::{Pid, WaitId, WaitIdOptions, getpid, set_child_subreaper, waitid};

use crate::fixture::{until, until_held, until_waiting, with_manager};

tests! {
    a_child_uses_proxies_over_its_own_connection,
    a_grandchild_uses_proxies_over_its_own_connection,
    a_child_keeps_a_proxy_that_its_parent_dropped_after_the_fork,
    a_guard_that_a_child_inherits_belongs_to_the_parent,
    a_killed_clients_locks_are_released_though_its_child_lives,
    a_child_forked_while_a_thread_is_in_a_call,
    a_child_forked_while_many_threads_are_in_calls,
    a_program_that_is_executed_finds_the_manager,
    a_pipeline_that_forks_is_the_parents,
}

fn a_child_uses_proxies_over_its_own_connection() {
    with_manager(|manager| {
        let (value, lock) = (manager.value(&1_u64).unwrap(), manager.lock().unwrap());
        let child = spawn(|| {
            assert_eq!(value.fetch_add(1), Ok(1));
            // The child is another client, and holds nothing that its parent holds.
            assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
            let own = manager.list::<u64>().unwrap();
            own.push(&3).unwrap();
            assert_eq!(own.len(), Ok(1));
            assert_eq!(manager.info().unwrap().clients, 2);
            value.fetch_add(1).unwrap();
            hang();
        });
        let guard = lock.lock_timeout(PATIENCE);
        until(manager, "the child is done", |_| value.get() == Ok(3));
        drop(guard);
        kill(&child);
        until(manager, "its list is gone", |info| (info.clients, info.objects) == (1, 2));
    });
}

fn a_grandchild_uses_proxies_over_its_own_connection() {
    with_manager(|manager| {
        let value = manager.value(&0_u64).unwrap();
        let child = spawn(|| {
            value.fetch_add(1).unwrap();
            let grandchild = spawn(|| {
                value.fetch_add(1).unwrap();
                assert_eq!(manager.info().unwrap().clients, 3);
            });
            succeeded(&grandchild);
            // The child in between never used the proxy.
            let idle = spawn(|| succeeded(&spawn(|| assert!(value.fetch_add(1).is_ok()))));
            succeeded(&idle);
        });
        succeeded(&child);
        assert_eq!(value.get(), Ok(3));
    });
}

fn a_child_keeps_a_proxy_that_its_parent_dropped_after_the_fork() {
    with_manager(|manager| {
        let value = manager.value(&"still here".to_owned()).unwrap();
        let start = manager.event().unwrap();
        let child = spawn(|| {
            start.wait().unwrap();
            assert_eq!(value.get().as_deref(), Ok("still here"));
            assert_eq!(value.set(&"used".to_owned()), Ok(()));
        });
        drop(value);
        // This call comes after the notice of the drop.
        start.set().unwrap();
        succeeded(&child);
    });
}

fn a_guard_that_a_child_inherits_belongs_to_the_parent() {
    with_manager(|manager| {
        let (lock, semaphore) = (manager.lock().unwrap(), manager.bounded_semaphore(1).unwrap());
        let tasks = manager.joinable_queue::<u64>().unwrap();
        tasks.put(&5).unwrap();
        let mut held = Some((lock.lock().unwrap(), semaphore.acquire().unwrap(), tasks.get().unwrap()));
        let child = spawn_holding(|| {
            drop(held.take());
            assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
            assert_eq!(semaphore.available(), Ok(0));
            assert_eq!(tasks.len(), Ok(0));
        });
        succeeded(&child);
        assert_eq!(manager.info().unwrap().held, 3);
        let (guard, permit, task) = held.unwrap();
        drop((guard, permit));
        assert_eq!(task.done(), Ok(5));
    });
}

fn a_killed_clients_locks_are_released_though_its_child_lives() {
    with_manager(|manager| {
        let (lock, semaphore) = (manager.lock().unwrap(), manager.semaphore(1).unwrap());
        let tasks = manager.joinable_queue::<u64>().unwrap();
        tasks.put(&5).unwrap();
        let (event, orphans) = (manager.event().unwrap(), manager.value(&0_u64).unwrap());
        let pid = manager.value(&0_u32).unwrap();
        // The orphan becomes a child of this process, which reaps it below.
        set_child_subreaper(Some(getpid())).unwrap();
        let victim = spawn(|| {
            let _kept = (lock.lock().unwrap(), semaphore.acquire().unwrap(), tasks.get().unwrap());
            // The child keeps all inherited descriptors open.
            let orphan = spawn_holding(|| {
                event.wait().unwrap();
                orphans.set(&1).unwrap();
            });
            pid.set(&orphan.id()).unwrap();
            hang();
        });
        until_held(manager, 3);
        until_waiting(manager, 1);
        until(manager, "the orphan is known", |_| pid.get() != Ok(0));
        kill(&victim);
        assert!(matches!(lock.lock_timeout(PATIENCE), Err(LockError::OwnerDied(_))));
        drop(semaphore.acquire_timeout(PATIENCE).unwrap());
        assert_eq!(tasks.get_timeout(PATIENCE).unwrap().done(), Ok(5));
        // The child still waits, and continues.
        assert_eq!(manager.info().unwrap().waiters, 1);
        event.set().unwrap();
        until(manager, "the orphan is done", |info| orphans.get() == Ok(1) && info.clients == 1);
        let orphan = Pid::from_raw(i32::try_from(pid.get().unwrap()).unwrap()).unwrap();
        assert!(waitid(WaitId::Pid(orphan), WaitIdOptions::EXITED).unwrap().is_some());
    });
}

fn a_child_forked_while_a_thread_is_in_a_call() {
    with_manager(|manager| {
        let (event, value) = (manager.event().unwrap(), manager.value(&0_u64).unwrap());
        std::thread::scope(|scope| {
            let waits = std::thread::Builder::new();
            let waiter = waits.spawn_scoped(scope, || event.wait_timeout(PATIENCE)).unwrap();
            until_waiting(manager, 1);
            let child = spawn_beside_threads(|| {
                value.fetch_add(1).unwrap();
                event.set().unwrap();
            });
            succeeded(&child);
            assert_eq!(waiter.join().unwrap(), Ok(true));
        });
        assert_eq!(value.get(), Ok(1));
    });
}

/// The fork may happen while the other threads are encoding, writing, reading, or holding the lock of the connection.
fn a_child_forked_while_many_threads_are_in_calls() {
    with_manager(|manager| {
        let (value, counter) = (manager.value(&vec![1_u8; 3_000]).unwrap(), manager.value(&0_u64).unwrap());
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let threads = std::thread::Builder::new();
                let work = || {
                    while !is_over.load(Ordering::Relaxed) {
                        assert_eq!(value.get().unwrap().len(), 3_000);
                        drop(value.clone());
                    }
                };
                threads.spawn_scoped(scope, work).unwrap();
            }
            for _ in 0..100 {
                succeeded(&spawn_beside_threads(|| assert!(counter.fetch_add(1).is_ok())));
            }
            is_over.store(true, Ordering::Relaxed);
        });
        assert_eq!(counter.get(), Ok(100));
    });
}

/// The variable that tells the program below that it is the executed one.
const PROXY: &str = "MP_TEST_PROXY";

fn a_program_that_is_executed_finds_the_manager() {
    // This test executes itself: the second time, it finds the variable.
    if let Ok(proxy) = std::env::var(PROXY) {
        let bytes: Vec<u8> = proxy.split(',').map(|byte| byte.parse().unwrap()).collect();
        let value: Value<String> = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(value.get().as_deref(), Ok("for another program"));
        value.set(&"found".to_owned()).unwrap();
        return;
    }
    with_manager(|manager| {
        let value = manager.value(&"for another program".to_owned()).unwrap();
        let proxy: Vec<String> = postcard::to_allocvec(&value).unwrap().iter().map(u8::to_string).collect();
        let program = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_program_that_is_executed_finds_the_manager"])
            .env(PROXY, proxy.join(","))
            .output()
            .unwrap();
        assert!(program.status.success(), "{program:?}");
        assert_eq!(value.get().as_deref(), Ok("found"));
        // It uses only the address.
        let other = Manager::connect(&manager.address().unwrap()).unwrap();
        assert_eq!(other.names(), Ok(vec![]));
    });
}

fn a_pipeline_that_forks_is_the_parents() {
    // More than one portion.
    const MANY: u64 = 5_000;
    with_manager(|manager| {
        let sum = manager.value(&0_u64).unwrap();
        for sent_before in [0, MANY] {
            manager
                .pipeline(|p| {
                    (0..sent_before).for_each(|_| drop(p.on(&sum).fetch_add(1)));
                    let child = spawn(|| {
                        // What a child adds to its copy is never sent, and its own calls work.
                        (0..MANY).for_each(|_| drop(p.on(&sum).fetch_add(1_000_000)));
                        assert!(sum.get().is_ok_and(|sum| sum < 1_000_000));
                    });
                    succeeded(&child);
                    (0..MANY).for_each(|_| drop(p.on(&sum).fetch_add(1)));
                })
                .unwrap();
        }
        assert_eq!(sum.get(), Ok(3 * MANY));
    });
}

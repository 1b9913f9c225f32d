//! Processes without /proc, as in a chroot, or with that of another PID namespace, as in some containers. No decision about
//! safety or about deaths depends on /proc.

use std::mem::forget;
use std::path::Path;

use mp_sys::child::{Ended, ForkError, fork};
use mp_sys::identity::Stamp;
use mp_sys::testing::mounts::{cover, enter_new_namespace};
use mp_sys::testing::{
    ended, eventually, hang, kill, skip, spawn, spawn_in_new_pid_namespace, succeeded, tests,
};
use shm_core::{Array, RawArray, RawValue, Semaphore, Value};

tests! {
    a_forgotten_guard_without_proc,
    a_forgotten_guard_with_the_proc_of_another_namespace,
    threads_are_counted_without_proc,
    deaths_are_noticed_without_proc,
    nobody_is_taken_for_dead_without_proc,
    nobody_is_taken_for_dead_with_the_proc_of_another_namespace,
}

/// The exit code of a child that could not begin.
const NOT_PERMITTED: i32 = 77;

/// Runs `test` in a child for which /proc is an empty folder.
fn without_proc(test: impl FnOnce()) {
    let child = fork(|| {
        if enter_new_namespace().is_err() {
            return NOT_PERMITTED;
        }
        cover(Path::new("/proc")).unwrap();
        assert!(!Path::new("/proc/self").exists());
        test();
        0
    });
    match ended(&child.unwrap()) {
        Ended::Exited(NOT_PERMITTED) => skip("no mount namespace"),
        other => assert_eq!(other, Ended::Exited(0)),
    }
}

/// Runs `test` in the first process of a PID namespace, which sees the /proc of the outer namespace.
fn with_a_foreign_proc(test: impl FnOnce()) {
    let run = || {
        assert_eq!(Stamp::current().pid(), 1);
        assert_ne!(std::fs::read_link("/proc/self").unwrap(), Path::new("1"));
        test();
    };
    match spawn_in_new_pid_namespace(run) {
        Ok(process) => succeeded(&process),
        Err(why) => skip(why),
    }
}

/// The thread's list of held locks includes memory that must not be used for anything else.
fn a_forgotten_guard_stays() {
    let other = Value::new(1_u64).unwrap();
    let forgotten = Array::<u64>::zeroed(100_000).unwrap();
    forget(forgotten.lock().unwrap());
    drop(forgotten);
    let fresh = RawArray::<u64>::zeroed(100_000).unwrap();
    drop(other.lock().unwrap());
    assert!(fresh.to_vec().iter().all(|element| *element == 0), "nobody wrote there");
    assert_eq!(other.get(), Ok(1));
}

fn a_forgotten_guard_without_proc() {
    without_proc(a_forgotten_guard_stays);
}

fn a_forgotten_guard_with_the_proc_of_another_namespace() {
    with_a_foreign_proc(a_forgotten_guard_stays);
}

fn threads_are_counted_without_proc() {
    without_proc(|| {
        succeeded(&fork(|| 0).unwrap());
        std::thread::scope(|scope| {
            let (end, until) = std::sync::mpsc::channel::<()>();
            std::thread::Builder::new().spawn_scoped(scope, move || until.recv().unwrap_err()).unwrap();
            assert_eq!(fork(|| 0).map(|child| child.id()), Err(ForkError::OtherThreads(1)));
            drop(end);
        });
        succeeded(&fork(|| 0).unwrap());
    });
}

fn deaths_are_noticed_without_proc() {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split('.').map_while(|number| number.parse::<u32>().ok());
    if (numbers.next(), numbers.next()) < (Some(6), Some(11)) {
        skip("before Linux 6.11 a process without /proc takes all others for alive");
    }
    without_proc(|| {
        let semaphore = Semaphore::new(1).unwrap();
        let has_it = RawValue::new(0_u8).unwrap();
        let holder = spawn(|| {
            let _permit = semaphore.acquire();
            has_it.store(1);
            hang();
        });
        eventually("the child has the permit", || has_it.load() == 1);
        assert!(semaphore.try_acquire().is_err());
        kill(&holder);
        drop(semaphore.try_acquire().unwrap());
    });
}

/// A child without /proc asks about its parent, which has /proc, and a child asks about another child.
fn nobody_is_taken_for_dead_without_proc() {
    let parent = Stamp::current();
    without_proc(|| {
        assert!(parent.is_alive());
        assert!(Stamp::current().is_alive());
        let own = Stamp::current();
        succeeded(&spawn(|| assert!(own.is_alive() && parent.is_alive())));
    });
}

fn nobody_is_taken_for_dead_with_the_proc_of_another_namespace() {
    let parent = Stamp::current();
    with_a_foreign_proc(|| {
        let own = Stamp::current();
        assert!(parent.is_alive() && own.is_alive());
        succeeded(&spawn(|| assert!(own.is_alive() && parent.is_alive())));
    });
}

//! What a forked child inherits lives as long as the child needs it, whatever happens to its parent.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use manager_rt::{LockError, Manager};
use mp_sys::deadline::Deadline;
use mp_sys::testing::{PATIENCE, Random, hang, kill, spawn, spawn_holding, succeeded, tests};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitId, WaitIdOptions, getpid, kill_process, set_child_subreaper, waitid};

use crate::fixture::{until, with_manager};

tests! {
    a_child_has_what_its_killed_parent_had,
    a_child_has_what_its_parent_dropped,
    a_parent_is_killed_at_any_moment,
    locks_of_a_killed_parent_are_free_though_its_child_lives,
    objects_end_with_a_child_that_never_used_them,
    objects_end_when_a_child_executes_another_program,
    objects_end_when_a_child_has_dropped_its_proxies,
    a_grandchild_has_what_nobody_in_between_used,
    forks_share_a_bequest_until_something_changes,
}

/// A signal to another process.
pub(crate) struct Signalled {
    reading: OwnedFd,
    writing: OwnedFd,
}

impl Signalled {
    pub(crate) fn new() -> Self {
        let (reading, writing) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        Self { reading, writing }
    }

    pub(crate) fn give(&self) {
        assert_eq!(rustix::io::write(&self.writing, &[0]), Ok(1));
    }

    pub(crate) fn take(&self) {
        assert_eq!(rustix::io::read(&self.reading, &mut [0]), Ok(1));
    }
}

/// Runs `parent` in a process that forks a child, which waits for the signal, and ends. Runs `then` when the parent and its
/// connection are gone, gives the signal, and returns when the child has ended well.
pub(crate) fn with_orphan(manager: &Manager, parent: impl FnOnce(&Signalled), then: impl FnOnce()) {
    set_child_subreaper(Some(getpid())).unwrap();
    let start = Signalled::new();
    let parent = spawn_holding(|| parent(&start));
    assert!(parent.wait(Deadline::after(PATIENCE)).unwrap().is_some(), "the parent ends");
    until(manager, "its connection is gone", |info| info.clients == 1);
    then();
    start.give();
    let orphan = waitid(WaitId::All, WaitIdOptions::EXITED).unwrap().unwrap();
    assert_eq!(orphan.exit_status(), Some(0), "the child ends well");
}

pub(crate) fn die() -> ! {
    kill_process(getpid(), Signal::KILL).unwrap();
    hang()
}

fn a_child_has_what_its_killed_parent_had() {
    with_manager(|manager| {
        with_orphan(
            manager,
            |start| {
                let (list, value) = (manager.list::<u32>().unwrap(), manager.value(&"v".to_owned()).unwrap());
                list.push(&7).unwrap();
                let _child = spawn(|| {
                    start.take();
                    assert_eq!(list.to_vec(), Ok(vec![7]));
                    assert_eq!(value.get().as_deref(), Ok("v"));
                    assert_eq!(manager.info().unwrap().objects, 2);
                });
                die();
            },
            || {},
        );
        until(manager, "the objects are gone", |info| (info.objects, info.clients) == (0, 1));
    });
}

fn a_child_has_what_its_parent_dropped() {
    with_manager(|manager| {
        with_orphan(
            manager,
            |start| {
                let list = manager.list::<u32>().unwrap();
                list.push(&7).unwrap();
                let _child = spawn(|| {
                    start.take();
                    assert_eq!(list.to_vec(), Ok(vec![7]));
                });
                drop(list);
                // What is made after the fork is not the child's.
                drop(manager.value(&1_u8).unwrap());
                assert_eq!(manager.info().unwrap().objects, 1);
            },
            || {},
        );
        until(manager, "the object is gone", |info| (info.objects, info.clients) == (0, 1));
    });
}

/// The child is in the middle of its first use at many of these moments.
fn a_parent_is_killed_at_any_moment() {
    let mut random = Random::new();
    with_manager(|manager| {
        set_child_subreaper(Some(getpid())).unwrap();
        for _ in 0..60 {
            let forked = Signalled::new();
            let parent = spawn(|| {
                let lists: Vec<_> = (0..3).map(|_| manager.list::<u32>().unwrap()).collect();
                let _child = spawn(|| {
                    forked.give();
                    lists.iter().for_each(|list| list.push(&7).unwrap());
                });
                drop(lists);
                hang();
            });
            forked.take();
            random.pause(1_000_000);
            kill(&parent);
            let orphan = waitid(WaitId::All, WaitIdOptions::EXITED).unwrap().unwrap();
            assert_eq!(orphan.exit_status(), Some(0), "the child ends well");
        }
        until(manager, "the objects are gone", |info| (info.objects, info.clients) == (0, 1));
    });
}

fn locks_of_a_killed_parent_are_free_though_its_child_lives() {
    with_manager(|manager| {
        let (lock, value) = (manager.lock().unwrap(), manager.value(&1_u8).unwrap());
        let parent = |start: &Signalled| {
            assert_eq!(value.get(), Ok(1));
            let _held = lock.lock().unwrap();
            let _child = spawn_holding(|| {
                start.take();
                assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
            });
            die();
        };
        let mut held = None;
        with_orphan(manager, parent, || match lock.lock_timeout(PATIENCE) {
            Err(LockError::OwnerDied(guard)) => held = Some(guard),
            other => panic!("{other:?}"),
        });
        drop(held);
    });
}

fn objects_end_with_a_child_that_never_used_them() {
    with_manager(|manager| {
        let list = manager.list::<u32>().unwrap();
        let child = spawn(|| hang());
        drop(list);
        drop(manager.value(&1_u8).unwrap());
        // The call comes after the notices of the drops.
        assert_eq!(manager.info().unwrap().objects, 1, "the child has the list");
        kill(&child);
        until(manager, "the list is gone", |info| info.objects == 0);
    });
}

fn objects_end_when_a_child_executes_another_program() {
    with_manager(|manager| {
        let list = manager.list::<u32>().unwrap();
        let start = Signalled::new();
        let child = spawn(|| {
            start.take();
            let error = Command::new("sleep").arg("1000").exec();
            panic!("{error}");
        });
        drop(list);
        assert_eq!(manager.info().unwrap().objects, 1, "the child has the list");
        start.give();
        until(manager, "the list is gone", |info| info.objects == 0);
        kill(&child);
    });
}

fn objects_end_when_a_child_has_dropped_its_proxies() {
    with_manager(|manager| {
        let (mut list, other) = (Some(manager.list::<u32>().unwrap()), manager.value(&0_u8).unwrap());
        let (start, used) = (Signalled::new(), Signalled::new());
        let child = spawn_holding(|| {
            start.take();
            drop(list.take());
            // From its first use on, the child has its own references.
            other.set(&1).unwrap();
            used.give();
            hang();
        });
        drop(list.take());
        assert_eq!(manager.info().unwrap().objects, 2, "the child has the list");
        start.give();
        used.take();
        until(manager, "the list is gone", |info| info.objects == 1);
        kill(&child);
        // A child with a single proxy needs no connection to drop it.
        let mut only = Some(other);
        let child = spawn_holding(|| {
            start.take();
            drop(only.take());
            hang();
        });
        drop(only.take());
        assert_eq!(manager.info().unwrap().objects, 1);
        start.give();
        until(manager, "the value is gone", |info| (info.objects, info.clients) == (0, 1));
        kill(&child);
    });
}

fn a_grandchild_has_what_nobody_in_between_used() {
    with_manager(|manager| {
        with_orphan(
            manager,
            |start| {
                let list = manager.list::<u32>().unwrap();
                list.push(&7).unwrap();
                let between = spawn(|| {
                    let _child = spawn(|| {
                        start.take();
                        assert_eq!(list.to_vec(), Ok(vec![7]));
                    });
                    die();
                });
                let ended = between.wait(Deadline::after(PATIENCE)).unwrap();
                assert!(ended.is_some());
                die();
            },
            || {},
        );
        until(manager, "the object is gone", |info| (info.objects, info.clients) == (0, 1));
    });
}

fn forks_share_a_bequest_until_something_changes() {
    with_manager(|manager| {
        let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = descriptors();
        succeeded(&spawn(|| {}));
        assert_eq!(descriptors(), before, "a process without proxies needs no bequest");
        let (one, other) = (manager.value(&1_u8).unwrap(), manager.value(&2_u8).unwrap());
        for _ in 0..3 {
            succeeded(&spawn(|| assert_eq!(one.get(), Ok(1))));
            assert_eq!(descriptors(), before + 1);
        }
        let new = manager.value(&3_u8).unwrap();
        succeeded(&spawn(|| assert_eq!(new.get(), Ok(3))));
        assert_eq!(descriptors(), before + 1, "the earlier bequest is closed");
        drop(other);
        assert_eq!(descriptors(), before, "the children alone keep what this process does not have");
        until(manager, "the dropped object is gone", |info| info.objects == 2);
        succeeded(&spawn(|| assert_eq!(one.get(), Ok(1))));
        drop((one, new));
        assert_eq!(descriptors(), before);
        until(manager, "the others are gone", |info| info.objects == 0);
    });
}

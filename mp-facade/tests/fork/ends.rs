//! How children end, which processes learn of it, and that nothing is left behind.

use std::os::fd::AsFd;
use std::time::Duration;

use mp::{ChildError, ExitError, RawValue};
use mp_sys::testing::leaks::Snapshot;
use mp_sys::testing::{PATIENCE, Random, eventually, hang, ignore_sigchld, tests};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, setrlimit};

tests! {
    signals_and_exit_codes,
    a_child_that_exits_by_itself_left_no_value,
    a_value_that_cannot_be_written_has_its_own_error,
    the_descriptor_is_readable_at_the_end,
    only_the_parent_joins,
    somebody_else_reaped_the_child,
    killed_at_every_moment_of_its_life,
    dropped_handles_are_reaped_later,
    an_abort_is_a_signal,
    threads_of_a_child_end_with_it,
}

fn signals_and_exit_codes() {
    let child = mp::fork(|| hang()).unwrap();
    assert_eq!(child.is_alive(), Ok(true));
    assert_eq!(child.try_join(), Ok(None::<()>));
    assert_eq!(child.terminate(), Ok(true));
    let error = child.join().unwrap_err();
    assert_eq!(error, ExitError::Signaled(15));
    assert_eq!(error.to_string(), "the child was ended by signal 15 (SIGTERM)");
    assert_eq!(child.is_alive(), Ok(false));
    assert_eq!(child.terminate(), Ok(false), "a child that ended gets no signal");
    assert_eq!(child.kill(), Ok(false));
    assert_eq!(child.join(), Err(ExitError::Signaled(15)));
}

#[expect(clippy::exit, reason = "the case")]
fn a_child_that_exits_by_itself_left_no_value() {
    let exits = |code: i32| mp::fork(|| -> u32 { std::process::exit(code) }).unwrap().join();
    assert_eq!(exits(0), Err(ExitError::Exited(0)));
    assert_eq!(exits(7), Err(ExitError::Exited(7)));
}

/// The closure returned, and not even the reason could be left.
fn a_value_that_cannot_be_written_has_its_own_error() {
    let child = mp::fork(|| {
        setrlimit(Resource::Fsize, Rlimit { current: Some(0), maximum: Some(0) }).unwrap();
        5
    });
    let error = child.unwrap().join().unwrap_err();
    assert_eq!(error, ExitError::Exited(0));
    let expected = "exit code 0 and left no value: it called `exit`, or the value could not be written";
    assert!(error.to_string().contains(expected), "{error}");
}

fn the_descriptor_is_readable_at_the_end() {
    let child = mp::fork(|| hang()).unwrap();
    let readable = |seconds| {
        let mut fds = [PollFd::from_borrowed_fd(child.as_fd(), PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: seconds, tv_nsec: 0 })).unwrap()
    };
    assert_eq!(readable(0), 0);
    child.kill().unwrap();
    assert_eq!(readable(30), 1);
    assert_eq!(child.join(), Err::<(), _>(ExitError::Signaled(9)));
}

fn only_the_parent_joins() {
    let sibling = mp::fork(|| hang()).unwrap();
    let other = mp::fork(|| {
        let refused =
            sibling.join_timeout(Duration::MAX) == Err::<Option<()>, _>(ChildError::NotParent.into());
        refused && sibling.is_alive() == Err(ChildError::NotParent)
    });
    assert_eq!(other.unwrap().join(), Ok(true));
    sibling.kill().unwrap();
    assert_eq!(sibling.join(), Err(ExitError::Signaled(9)));
}

/// If SIGCHLD is ignored, the kernel reaps children. The value still arrives.
fn somebody_else_reaped_the_child() {
    ignore_sigchld();
    for _ in 0..100 {
        // Some of them have ended before the parent can open their pidfd.
        assert_eq!(mp::fork(|| 5).unwrap().join(), Ok(5));
    }
    let killed = mp::fork(|| hang()).unwrap();
    killed.kill().unwrap();
    assert_eq!(killed.join(), Err::<(), _>(ExitError::StatusLost));
}

fn killed_at_every_moment_of_its_life() {
    let before = Snapshot::take();
    let mut random = Random::new();
    let mut finished = 0;
    for _ in 0..300 {
        let child = mp::fork(|| vec![3_u8; 5000]).unwrap();
        random.pause(1_500_000);
        child.kill().unwrap();
        match child.join() {
            Ok(value) => {
                assert_eq!(value, [3; 5000], "whole, or not at all");
                finished += 1;
            }
            Err(error) => assert_eq!(error, ExitError::Signaled(9)),
        }
    }
    assert!((1..300).contains(&finished), "{finished} of 300 were faster than the kill");
    mp::release_unused_memory();
    assert!(before.leaked_since().is_none());
}

fn dropped_handles_are_reaped_later() {
    let before = Snapshot::take();
    let done = RawValue::new(0_u32).unwrap();
    for _ in 0..20 {
        drop(mp::fork(|| done.fetch_add(1)).unwrap());
    }
    eventually("all ran", || done.load() == 20);
    drop(done);
    eventually("the last ones are reaped at the next fork", || {
        mp::fork(|| ()).unwrap().join().unwrap();
        mp::release_unused_memory();
        before.leaked_since().is_none()
    });
}

fn an_abort_is_a_signal() {
    let aborted = mp::fork(|| -> () { std::process::abort() }).unwrap().join();
    assert_eq!(aborted, Err(ExitError::Signaled(6)));
    assert_eq!(aborted.unwrap_err().to_string(), "the child was ended by signal 6 (SIGABRT)");
}

/// They end like the children of a program when `main` returns.
fn threads_of_a_child_end_with_it() {
    let work = |()| {
        std::thread::Builder::new().spawn(|| hang()).unwrap();
        let joined = std::thread::Builder::new().spawn(|| 2).unwrap();
        3 + joined.join().unwrap()
    };
    for method in crate::METHODS {
        let child = mp::Process::new().method(method).start(work, ()).unwrap();
        assert_eq!(child.join_timeout(PATIENCE), Ok(Some(5)), "{method:?}");
    }
}

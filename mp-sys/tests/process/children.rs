//! Forking: what is refused, how children end, which process may wait, and that nothing is left behind.

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::time::Duration;

use mp_sys::child::{
    ChildError, EVENT_LOOPS_LOOKED_AT_BEYOND, Ended, ForkAnyway, ForkError, die_with, fork, fork_anyway,
    fork_to_write, own_pid, reap_abandoned,
};
use mp_sys::deadline::Deadline;
use mp_sys::ready::ReadySet;
use mp_sys::testing::leaks::Snapshot;
use mp_sys::testing::{PATIENCE, ended, eventually, hang, kill, spawn, succeeded, tests};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{
    Resource, Rlimit, WaitId, WaitIdOptions, getpid, getppid, getrlimit, set_child_subreaper, setrlimit,
    waitid,
};

tests! {
    children_report_exit_codes_panics_and_signals,
    a_second_thread_is_refused_until_it_is_joined,
    an_epoll_instance_is_found_up_to_the_limit,
    a_set_of_descriptors_does_not_count_as_one_and_belongs_to_its_process,
    only_the_parent_waits,
    two_threads_wait_for_one_child,
    a_timeout_ends_the_wait_and_not_the_child,
    a_tracer_delays_no_wait_beyond_its_deadline,
    dropped_handles_are_reaped_later,
    a_lack_of_descriptors_is_an_error_and_leaves_no_child,
    a_lack_of_processes_is_an_error,
    captures_are_dropped_in_both_processes,
    a_child_does_not_wait_for_stdout_of_a_lost_thread,
    a_zombie_takes_no_signal,
    a_child_that_writes_has_no_sockets,
    an_orphan_learns_that_it_does_not_end_with_its_parent,
}

fn children_report_exit_codes_panics_and_signals() {
    assert_eq!(ended(&fork(|| 0).unwrap()), Ended::Exited(0));
    assert_eq!(ended(&fork(|| 42).unwrap()), Ended::Exited(42));
    let quiet_panic = || {
        std::panic::set_hook(Box::new(|_| {}));
        panic!("on purpose")
    };
    assert_eq!(ended(&fork(quiet_panic).unwrap()), Ended::Exited(101));
    let looping = spawn(|| {
        hang();
    });
    assert!(looping.signal(15).unwrap());
    assert_eq!(ended(&looping), Ended::Signaled(15));
    assert_eq!(ended(&looping), Ended::Signaled(15), "the status can be read again");
    assert_eq!(looping.signal(15), Ok(false), "a reaped child gets no signal");
    assert!(matches!(looping.signal(1000), Err(ChildError::System(_))));
}

fn a_second_thread_is_refused_until_it_is_joined() {
    let (hold, held) = channel::<()>();
    let thread = std::thread::Builder::new().spawn(move || held.recv()).unwrap();
    let refused = fork(|| 0).unwrap_err();
    assert_eq!(refused, ForkError::OtherThreads(1));
    assert!(refused.to_string().contains("harness = false"), "{refused}");
    drop(hold);
    thread.join().unwrap().unwrap_err();
    // The joined thread may still show in /proc for a moment: fork waits for it.
    for _ in 0..100 {
        std::thread::Builder::new().spawn(|| {}).unwrap().join().unwrap();
        succeeded(&fork(|| 0).unwrap());
    }
}

fn an_epoll_instance_is_found_up_to_the_limit() {
    // The next descriptor has the lowest free number, as has the one that `fork` makes to ask with.
    let lowest_free = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
    let limit = lowest_free + i32::try_from(EVENT_LOOPS_LOOKED_AT_BEYOND).unwrap();
    let at = |number| {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let moved = fcntl_dupfd_cloexec(&epoll, number).unwrap();
        assert_eq!(moved.as_raw_fd(), number);
        moved
    };
    for number in [lowest_free + 1, limit] {
        let epoll = at(number);
        assert_eq!(fork(|| 0).unwrap_err(), ForkError::EventLoop { descriptor: number });
        drop(epoll);
    }
    let beyond = at(limit + 1);
    succeeded(&fork(|| 0).unwrap());
    drop(beyond);
}

fn a_set_of_descriptors_does_not_count_as_one_and_belongs_to_its_process() {
    let (set, late) = (ReadySet::new().unwrap(), ReadySet::new().unwrap());
    let event = || rustix::event::eventfd(1, EventfdFlags::CLOEXEC).unwrap();
    let (known, other) = (event(), event());
    set.add(&known, 7).unwrap();
    let child = fork(|| {
        let refused = Err(Errno::PERM.into());
        assert_eq!(set.add(&other, 8), refused);
        assert_eq!(set.remove(&known), refused);
        assert_eq!(set.set_alarm(Deadline::NEVER), refused);
        assert_eq!(set.ready().map(drop), refused);
        // It may fork in turn, with the sets that it has inherited and its own.
        let own = ReadySet::new().unwrap();
        own.add(&other, 9).unwrap();
        succeeded(&fork(|| 0).unwrap());
        assert_eq!(own.ready(), Ok(vec![9]));
        0
    });
    succeeded(&child.unwrap());
    assert_eq!(set.ready(), Ok(vec![7]), "the child has changed nothing");
    let number = late.as_fd().as_raw_fd();
    drop(late);
    let _number_of_its_timer = event();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    assert_eq!(epoll.as_raw_fd(), number);
    assert_eq!(fork(|| 0).unwrap_err(), ForkError::EventLoop { descriptor: number });
}

fn only_the_parent_waits() {
    let sibling = spawn(|| {
        hang();
    });
    let other = spawn(|| assert_eq!(sibling.wait(Deadline::NEVER), Err(ChildError::NotParent)));
    succeeded(&other);
    kill(&sibling);
}

fn two_threads_wait_for_one_child() {
    for _ in 0..50 {
        let child = fork(|| 7).unwrap();
        std::thread::scope(|scope| {
            let waiters = [(); 2].map(|()| scope.spawn(|| ended(&child)));
            for waiter in waiters {
                assert_eq!(waiter.join().unwrap(), Ended::Exited(7));
            }
        });
    }
}

fn a_timeout_ends_the_wait_and_not_the_child() {
    let child = spawn(|| {
        hang();
    });
    assert_eq!(child.wait(Deadline::after(Duration::from_millis(5))), Ok(None));
    assert_eq!(child.wait(Deadline::after(Duration::ZERO)), Ok(None));
    kill(&child);
    assert_eq!(ended(&child), Ended::Signaled(9));
}

/// The child was killed while another process traces it and does not look: the kernel says that it has ended, but has
/// no status for it.
fn a_tracer_delays_no_wait_beyond_its_deadline() {
    let child = spawn(|| hang());
    let (told, tell) = rustix::pipe::pipe().unwrap();
    let traced = i32::try_from(child.id()).unwrap();
    let tracer = spawn(|| {
        // SAFETY: three numbers, and a null pointer that the request does not look at.
        let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, traced, 0, 0) } == 0;
        rustix::io::write(&tell, &[u8::from(seized)]).unwrap();
        hang();
    });
    let mut answer = [0];
    rustix::io::read(&told, &mut answer).unwrap();
    if answer == [0] {
        kill(&tracer);
        kill(&child);
        mp_sys::testing::skip("this process may not trace");
    }
    child.signal(9).unwrap();
    let mut files = [PollFd::from_borrowed_fd(child.as_fd(), PollFlags::IN)];
    let patience = Timespec { tv_sec: 30, tv_nsec: 0 };
    assert_eq!(poll(&mut files, Some(&patience)), Ok(1), "it has ended");
    for timeout in [Duration::ZERO, Duration::from_millis(30)] {
        let deadline = Deadline::after(timeout);
        assert_eq!(child.wait(deadline).unwrap(), None);
        assert!(deadline.has_passed());
    }
    kill(&tracer);
    assert_eq!(ended(&child), Ended::Signaled(9));
}

fn dropped_handles_are_reaped_later() {
    let before = Snapshot::take();
    for _ in 0..20 {
        drop(fork(|| 0).unwrap());
    }
    eventually("every abandoned child is reaped", || {
        reap_abandoned();
        before.leaked_since().is_none()
    });
}

fn a_lack_of_descriptors_is_an_error_and_leaves_no_child() {
    let before = Snapshot::take();
    // The lowest free number becomes the limit.
    let free = std::io::stdout().as_fd().try_clone_to_owned().unwrap().as_raw_fd();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit { current: Some(u64::try_from(free).unwrap()), maximum: limit.maximum },
    )
    .unwrap();
    let outcome = fork(|| 0).map(|child| child.id());
    setrlimit(Resource::Nofile, limit).unwrap();
    assert_eq!(outcome, Err(ForkError::OutOfDescriptors));
    assert!(before.leaked_since().is_none());
    succeeded(&fork(|| 0).unwrap());
}

fn a_lack_of_processes_is_an_error() {
    // The limit applies only to ordinary users, so a child becomes one.
    let child = spawn(|| {
        if rustix::process::geteuid().is_root() {
            let nobody = rustix::process::Uid::from_raw(65_534);
            rustix::thread::set_thread_uid(nobody).unwrap();
        }
        setrlimit(Resource::Nproc, Rlimit { current: Some(1), maximum: Some(1) }).unwrap();
        // This process is the one that the limit allows, unless the user has others: in either case no process is left.
        assert_eq!(fork(|| 0).map(|child| child.id()), Err(ForkError::OutOfProcesses));
    });
    succeeded(&child);
}

fn captures_are_dropped_in_both_processes() {
    struct Counted<'a>(&'a Cell<u32>);
    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let drops = Cell::new(0);
    let counted = Counted(&drops);
    let child = fork(|| {
        drop(counted);
        i32::try_from(drops.get()).unwrap()
    });
    assert_eq!(drops.get(), 1, "dropped in the parent, with the closure");
    assert_eq!(ended(&child.unwrap()), Ended::Exited(1), "dropped in the child, by the closure");
}

/// Another thread held stdout's lock at the fork. That thread does not exist in the child, so it cannot release the
/// lock.
fn a_child_does_not_wait_for_stdout_of_a_lost_thread() {
    let (release, released) = channel::<()>();
    let (holds, held) = channel::<()>();
    let holder = std::thread::Builder::new().spawn(move || {
        let _stdout = std::io::stdout().lock();
        holds.send(()).unwrap();
        released.recv()
    });
    held.recv().unwrap();
    // The parent flushes before it forks, and would wait for the other thread, so that thread is released at that
    // moment.
    let forked = std::thread::scope(|scope| {
        let fork = std::thread::Builder::new().spawn_scoped(scope, || {
            // SAFETY: the child does nothing.
            fork_anyway(unsafe { ForkAnyway::new() }, || 0)
        });
        drop(release);
        fork.unwrap().join().unwrap()
    });
    assert_eq!(ended(&forked.unwrap()), Ended::Exited(0));
    holder.unwrap().join().unwrap().unwrap_err();
}

fn a_zombie_takes_no_signal() {
    let child = fork(|| 0).unwrap();
    let has_ended = || {
        let mut fds = [PollFd::from_borrowed_fd(child.as_fd(), PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(1)
    };
    eventually("the child has ended", has_ended);
    assert_eq!(child.signal(15), Ok(false));
    assert_eq!(ended(&child), Ended::Exited(0));
}

/// Whoever is connected to the parent sees its end, and the child goes on.
fn a_child_that_writes_has_no_sockets() {
    let (own, mut other) = UnixStream::pair().unwrap();
    let (mut reading, writing) = std::io::pipe().unwrap();
    let _event_loop = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    assert!(matches!(fork(|| 0), Err(ForkError::EventLoop { .. })));
    let child = fork_to_write(|| {
        (&writing).write_all(b"x").unwrap();
        hang();
    });
    let child = child.unwrap();
    reading.read_exact(&mut [0]).unwrap();
    drop(own);
    other.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(other.read(&mut [0]).unwrap(), 0, "the end is seen");
    kill(&child);
}

/// The parent ends before the child asks the kernel to end with it, so the kernel would never do that.
fn an_orphan_learns_that_it_does_not_end_with_its_parent() {
    // The orphan becomes a child of this process.
    set_child_subreaper(Some(getpid())).unwrap();
    let (mut reading, writing) = std::io::pipe().unwrap();
    let parent = spawn(|| {
        let starter = own_pid();
        let _orphan = fork(|| {
            (&writing).write_all(b"s").unwrap();
            let adopted = || getppid().is_none_or(|now| now.as_raw_nonzero().get().unsigned_abs() != starter);
            eventually("the parent has ended", adopted);
            let told = if die_with(starter) == Ok(false) { b"y" } else { b"n" };
            (&writing).write_all(told).unwrap();
            0
        });
        hang();
    });
    drop(writing);
    let mut told = [0];
    reading.read_exact(&mut told).unwrap();
    kill(&parent);
    reading.read_exact(&mut told).unwrap();
    assert_eq!(told, *b"y");
    waitid(WaitId::All, WaitIdOptions::EXITED).unwrap().unwrap();
}

//! Processes that execute the program again: deaths on both sides, limits, and the descriptors that they have.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use mp_sys::child::{ChildProcess, Ended, fork};
use mp_sys::deadline::Deadline;
use mp_sys::reexec::{Command, Entry, Handed, HelloError, StartError, first_packet};
use mp_sys::robust::Patience;
use mp_sys::socket::{Endpoint, Head, OVERHEAD_BYTES};
use mp_sys::testing::leaks::Snapshot;
use mp_sys::testing::{PATIENCE, ended, ignore_sigchld, spawn, succeeded, tests};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getpid, getrlimit, kill_process,
    set_child_subreaper, setrlimit, waitid,
};

tests! {
    a_parent_that_is_killed_after_the_start_is_noticed,
    a_death_is_seen_although_a_grandchild_holds_the_socket,
    children_of_many_threads_have_their_own_descriptors_only,
    descriptors_open_across_the_exec_are_closed,
    a_lack_of_descriptors_starts_no_process,
    a_lack_of_processes_starts_none,
    a_dropped_handle_is_reaped_later,
    a_child_that_the_kernel_reaps_is_heard,
}

fn patience() -> Deadline {
    Deadline::after(PATIENCE)
}

fn send(endpoint: &Endpoint, word: u32, files: &[&OwnedFd]) {
    let files: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
    let head = Head { word, long: 0 };
    endpoint.send(head, &mut [0; OVERHEAD_BYTES], &[], &files, Patience::Until(patience())).unwrap();
}

fn start(entry: Entry) -> (ChildProcess, Endpoint) {
    Command::new(entry).unwrap().start().unwrap()
}

fn hello(child: &ChildProcess, endpoint: &Endpoint) -> Result<u32, HelloError> {
    first_packet(child, endpoint, &mut [0; OVERHEAD_BYTES], patience()).map(|received| received.head.word)
}

/// Keeps the descriptor that it gets, which shows the test that it runs, until its parent has ended.
fn outlive_parent(handed: Handed) -> i32 {
    let received = handed.receive(&mut [0; OVERHEAD_BYTES], patience());
    let ended = handed.parent().wait(patience()).unwrap();
    drop(received);
    i32::from(!ended)
}

fn a_parent_that_is_killed_after_the_start_is_noticed() {
    // An orphan becomes a child of the test.
    set_child_subreaper(Some(getpid())).unwrap();
    let (runs, held) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let middle = spawn(|| {
        let (child, endpoint) = start(outlive_parent);
        send(&endpoint, 0, &[&held]);
        println!("started {}", child.id());
        kill_process(getpid(), Signal::KILL).unwrap();
    });
    assert_eq!(ended(&middle), Ended::Signaled(9));
    drop(held);
    // The end of the pipe arrives when the orphan has ended, or if it never had time to receive its packet.
    let mut polled = [rustix::event::PollFd::new(&runs, rustix::event::PollFlags::IN)];
    let timeout = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut polled, Some(&timeout)), Ok(1));
    drop(middle);
    // It is the only child left, and ends by itself.
    let status = waitid(WaitId::All, WaitIdOptions::EXITED).unwrap().unwrap();
    assert_eq!(status.exit_status(), Some(0));
}

/// Ends, and leaves behind a child of its own that has the socket.
fn leave_a_grandchild(handed: Handed) -> i32 {
    let grandchild = fork(|| {
        let outcome = handed.endpoint().receive(&mut [0; OVERHEAD_BYTES], Patience::Until(patience()));
        i32::from(outcome.is_ok())
    });
    if grandchild.is_ok() { 7 } else { 8 }
}

fn a_death_is_seen_although_a_grandchild_holds_the_socket() {
    set_child_subreaper(Some(getpid())).unwrap();
    let (child, endpoint) = start(leave_a_grandchild);
    assert_eq!(hello(&child, &endpoint), Err(HelloError::Ended(Ended::Exited(7))));
    assert_eq!(endpoint.wait_readable(Patience::None), Ok(false), "the grandchild holds the other end");
    drop(endpoint);
    let status = waitid(WaitId::All, WaitIdOptions::EXITED).unwrap().unwrap();
    assert_eq!(status.exit_status(), Some(0));
}

/// Reports how many descriptors this process has besides the first three and the folder.
fn count_descriptors(handed: Handed) -> i32 {
    let count = std::fs::read_dir("/proc/self/fd").unwrap().count() - 4;
    send(handed.endpoint(), u32::try_from(count).unwrap(), &[]);
    0
}

/// The socket, and the parent's pidfd.
const HANDED: u32 = 2;

fn children_of_many_threads_have_their_own_descriptors_only() {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let work = || {
                for _ in 0..10 {
                    let (child, endpoint) = start(count_descriptors);
                    assert_eq!(hello(&child, &endpoint), Ok(HANDED));
                    succeeded(&child);
                }
            };
            std::thread::Builder::new().spawn_scoped(scope, work).unwrap();
        }
    });
}

fn descriptors_open_across_the_exec_are_closed() {
    let (read, write) = rustix::pipe::pipe().unwrap();
    let high = rustix::io::fcntl_dupfd_cloexec(&read, 900).unwrap();
    fcntl_setfd(&high, FdFlags::empty()).unwrap();
    let (child, endpoint) = start(count_descriptors);
    assert_eq!(hello(&child, &endpoint), Ok(HANDED));
    succeeded(&child);
    drop((read, write));
}

fn a_lack_of_descriptors_starts_no_process() {
    let before = Snapshot::take();
    let free = std::io::stdout().as_fd().try_clone_to_owned().unwrap().as_raw_fd();
    let limit = getrlimit(Resource::Nofile);
    let mut outcomes = Vec::new();
    // Each time, one more number is free. The socket needs two, and then the parent's pidfd needs one.
    for more in 0..8 {
        let current = u64::try_from(free + more).unwrap();
        setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: limit.maximum }).unwrap();
        let outcome = Command::new(count_descriptors).and_then(Command::start);
        setrlimit(Resource::Nofile, limit).unwrap();
        outcomes.push(outcome.map(|(child, endpoint)| {
            // The child has the same limit, which may be too low for it to run. Then it ends, and the parent sees that.
            let said = hello(&child, &endpoint);
            println!("with {more} free descriptors: {said:?}, {:?}", ended(&child));
        }));
    }
    assert_eq!(outcomes[..3], [Err(StartError::OutOfDescriptors); 3]);
    assert_eq!(outcomes[3..], [Ok(()); 5]);
    assert!(before.leaked_since().is_none());
}

fn a_lack_of_processes_starts_none() {
    // The limit applies only to ordinary users, so a child becomes one.
    let child = spawn(|| {
        if rustix::process::geteuid().is_root() {
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65_534)).unwrap();
        }
        setrlimit(Resource::Nproc, Rlimit { current: Some(1), maximum: Some(1) }).unwrap();
        let outcome = Command::new(count_descriptors).and_then(Command::start);
        assert_eq!(outcome.map(drop), Err(StartError::OutOfProcesses));
    });
    succeeded(&child);
}

fn a_dropped_handle_is_reaped_later() {
    let (child, endpoint) = start(count_descriptors);
    let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    drop(child);
    let outcome = endpoint.receive(&mut [0; OVERHEAD_BYTES], Patience::Until(patience())).unwrap();
    assert_eq!(outcome.head.word, HANDED);
    let left = Deadline::after(PATIENCE);
    while rustix::process::test_kill_process(pid).is_ok() {
        assert!(!left.has_passed(), "the child was not reaped");
        mp_sys::child::reap_abandoned();
        std::thread::yield_now();
    }
    let waited = start(count_descriptors);
    assert_eq!(waited.0.wait(Deadline::after(Duration::MAX)), Ok(Some(Ended::Exited(0))));
}

fn a_child_that_the_kernel_reaps_is_heard() {
    ignore_sigchld();
    for _ in 0..20 {
        let (child, endpoint) = start(count_descriptors);
        assert_eq!(hello(&child, &endpoint), Ok(HANDED), "what the child sent before its end counts");
        assert_eq!(ended(&child), Ended::Unknown);
        assert_eq!(hello(&child, &endpoint), Err(HelloError::Ended(Ended::Unknown)));
    }
}

//! Streams and forks: a child never has its parent's stream.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mp_sys::child::{ForkAnyway, fork_anyway};
use mp_sys::deadline::Deadline;
use mp_sys::fork::{BeforeOpening, CLOSED_ON_FORK_MAX, NotTaken, OtherProcess};
use mp_sys::stream::{AskFailure, Interest, ReadFailure, Stream, WriteFailure};
use mp_sys::testing::leaks::Snapshot;
use mp_sys::testing::{PATIENCE, eventually, hang, kill, spawn, succeeded, tests};
use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt};
use rustix::process::{WaitId, WaitIdOptions, getpid, set_child_subreaper, waitid};

tests! {
    the_peer_sees_the_end_though_a_child_lives_on,
    a_child_is_refused_and_closes_nothing,
    a_child_has_places_of_its_own,
    streams_up_to_the_limit_are_taken_and_one_above_is_refused,
    a_fork_in_between_is_noticed,
    a_number_that_was_carried_into_a_child_is_closed_there,
    forks_beside_threads_that_open_and_close_streams_delay_no_end,
}

fn pair() -> (OwnedFd, OwnedFd) {
    let (one, other) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    // So no read waits for ever.
    for end in [&one, &other] {
        sockopt::set_socket_timeout(end, sockopt::Timeout::Recv, Some(PATIENCE)).unwrap();
    }
    (one, other)
}

/// A stream, and the bare descriptor of its peer.
fn stream() -> (Stream, OwnedFd) {
    let before = BeforeOpening::now();
    let (one, other) = pair();
    (Stream::of(one, before).unwrap(), other)
}

/// The parent is killed while its child lives on; the child shows through a stream of its own that it does.
fn the_peer_sees_the_end_though_a_child_lives_on() {
    // The grandchild becomes a child of this process in the end.
    set_child_subreaper(Some(getpid())).unwrap();
    let (ours, theirs) = stream();
    let (grandchild_lives, its_end) = pair();
    let parent = spawn(|| {
        let before = BeforeOpening::now();
        let own = Stream::of(theirs, before).unwrap();
        let child = spawn(|| {
            assert_eq!(own.try_write(b"x"), Err(WriteFailure::OtherProcess));
            rustix::io::write(&its_end, b"1").unwrap();
            // It lives until the test ends this stream.
            assert_eq!(rustix::io::read(&its_end, &mut [0; 8]), Ok(0));
        });
        assert_eq!(own.try_write(b"parent"), Ok(6));
        drop(child);
        hang();
    });
    drop(its_end);
    let mut into = [0; 8];
    let read = |into: &mut [u8]| {
        let deadline = Deadline::after(PATIENCE);
        loop {
            match ours.read_slice(into) {
                Err(ReadFailure::Empty) => assert!(!deadline.has_passed(), "the end is seen"),
                outcome => return outcome,
            }
        }
    };
    assert_eq!(read(&mut into), Ok(6));
    assert_eq!(rustix::io::read(&grandchild_lives, &mut into), Ok(1), "the grandchild runs");
    kill(&parent);
    assert_eq!(read(&mut into), Ok(0), "the end");
    let nothing = rustix::net::recv(&grandchild_lives, &mut into, rustix::net::RecvFlags::DONTWAIT);
    assert_eq!(nothing.map(|(_, count)| count), Err(Errno::AGAIN), "the grandchild still runs");
    rustix::net::shutdown(&grandchild_lives, rustix::net::Shutdown::Both).unwrap();
    let ended = waitid(WaitId::All, WaitIdOptions::EXITED).unwrap().unwrap();
    assert_eq!(ended.exit_status(), Some(0));
}

fn a_child_is_refused_and_closes_nothing() {
    let (one, other) = stream();
    let number = one.file().unwrap().as_raw_fd();
    let child = spawn(|| {
        assert_eq!(one.file().unwrap_err(), OtherProcess);
        assert_eq!(one.try_read(&mut [0; 8]), Err(ReadFailure::OtherProcess));
        assert_eq!(one.read_slice(&mut [0; 8]), Err(ReadFailure::OtherProcess));
        assert_eq!(one.try_write(b"x"), Err(WriteFailure::OtherProcess));
        assert_eq!(one.try_write_vectored(&[]), Err(WriteFailure::OtherProcess));
        assert_eq!(one.unread(), Err(AskFailure::OtherProcess));
        assert_eq!(one.ready(Interest::Read, Deadline::NEVER), Err(AskFailure::OtherProcess));
        // The number is free, and another file gets it.
        let files: Vec<OwnedFd> = (0..8).map(|_| pair().0).collect();
        let same = files.iter().find(|file| file.as_raw_fd() == number).unwrap();
        drop(one);
        assert!(fstat(same).is_ok(), "it is still open");
    });
    succeeded(&child);
    // The closure with the stream is gone in the parent as well.
    assert_eq!(rustix::io::read(&other, &mut [0; 8]), Ok(0));
}

fn a_child_has_places_of_its_own() {
    let (one, _other) = stream();
    let child = spawn(|| {
        let own: Vec<_> = (0..3).map(|_| stream()).collect();
        drop(one);
        // The dropped stream had the first place, which is now that of the child's first stream.
        succeeded(&spawn(|| {
            for (stream, _) in &own {
                assert_eq!(stream.try_write(b"x"), Err(WriteFailure::OtherProcess));
            }
            let before = Snapshot::take();
            drop(own);
            assert!(before.leaked_since().is_none());
        }));
    });
    succeeded(&child);
}

fn streams_up_to_the_limit_are_taken_and_one_above_is_refused() {
    let before = Snapshot::take();
    let mut streams: Vec<_> = (0..CLOSED_ON_FORK_MAX).map(|_| stream()).collect();
    let mark = BeforeOpening::now();
    let (one, other) = pair();
    let copy = one.try_clone().unwrap();
    assert_eq!(Stream::of(one, mark).unwrap_err(), NotTaken::TooMany);
    assert_eq!(rustix::io::read(&other, &mut [0; 8]), Ok(0), "it has ended, for copies too");
    drop(copy);
    drop(other);
    let (last, _) = streams.pop().unwrap();
    let numbers: Vec<_> = streams.iter().map(|(stream, _)| stream.file().unwrap().as_raw_fd()).collect();
    drop(last);
    streams.push(stream());
    succeeded(&spawn(|| {
        for number in &numbers {
            assert!(!std::fs::exists(format!("/proc/self/fd/{number}")).unwrap(), "{number} is closed");
        }
    }));
    drop(streams);
    assert!(before.leaked_since().is_none());
}

fn a_fork_in_between_is_noticed() {
    let before = BeforeOpening::now();
    let (one, other) = pair();
    let child = spawn(|| {
        hang();
    });
    assert_eq!(Stream::of(one, before).unwrap_err(), NotTaken::Forked);
    assert_eq!(rustix::io::read(&other, &mut [0; 8]), Ok(0), "the child's copy does not delay the end");
    let mark = BeforeOpening::now();
    succeeded(&spawn(|| {
        let (one, _other) = pair();
        assert_eq!(Stream::of(one, mark).unwrap_err(), NotTaken::Forked, "it belongs to the parent");
    }));
    kill(&child);
    drop(stream());
}

/// The peer sees the end, whatever a thread was doing at a fork, and although every child still lives.
fn forks_beside_threads_that_open_and_close_streams_delay_no_end() {
    const FORKS: usize = 100;
    let (is_over, taken) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut children = Vec::new();
    std::thread::scope(|scope| {
        let open_and_close = || {
            while !is_over.load(Ordering::Relaxed) {
                let mark = BeforeOpening::now();
                let (one, other) = pair();
                match Stream::of(one, mark) {
                    Ok(stream) => {
                        taken.fetch_add(1, Ordering::Relaxed);
                        drop(stream);
                    }
                    Err(error) => assert_eq!(error, NotTaken::Forked),
                }
                assert_eq!(rustix::io::read(&other, &mut [0; 8]), Ok(0));
            }
        };
        let threads = [(); 2].map(|()| scope.spawn(open_and_close));
        for _ in 0..FORKS {
            // So streams are also taken between the forks.
            let before = taken.load(Ordering::Relaxed);
            eventually("a thread has taken a stream", || {
                taken.load(Ordering::Relaxed) > before || threads.iter().any(|thread| thread.is_finished())
            });
            // SAFETY: the child only waits to be killed.
            let responsible = unsafe { ForkAnyway::new() };
            children.push(fork_anyway(responsible, || hang()).unwrap());
        }
        is_over.store(true, Ordering::Relaxed);
    });
    for child in &children {
        kill(child);
    }
    eventually("the threads are gone", || std::fs::read_dir("/proc/self/task").unwrap().count() == 1);
}

/// This shows a gap that docs/SAFETY.md describes.
fn a_number_that_was_carried_into_a_child_is_closed_there() {
    let (stream, _peer) = stream();
    let borrowed = stream.file().unwrap();
    assert!(fstat(borrowed).is_ok());
    succeeded(&spawn(|| assert_eq!(fstat(borrowed).map(drop), Err(Errno::BADF))));
}

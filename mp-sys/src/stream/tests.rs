//! Tests of streams within one process; those between processes are in tests/process/streams.rs.

use std::time::Duration;

use rustix::net::{Shutdown, SocketFlags, shutdown, socketpair};

use super::*;
use crate::fork::{CLOSED_ON_FORK_MAX, OtherProcess};

fn pair_of(kind: SocketType) -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, kind, SocketFlags::empty(), None).unwrap()
}

fn pair() -> (Stream, Stream) {
    let before = BeforeOpening::now();
    let (one, other) = pair_of(SocketType::STREAM);
    (Stream::of(one, before).unwrap(), Stream::of(other, before).unwrap())
}

fn fill(stream: &Stream) -> usize {
    let mut sum = 0;
    loop {
        match stream.try_write(&[7; 4096]) {
            Ok(count) => sum += count,
            Err(WriteFailure::Full) => return sum,
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn bytes_arrive_as_they_were_written_and_then_the_end() {
    let (one, other) = pair();
    let mut into = [0; 16];
    assert_eq!(other.try_read(&mut into), Err(ReadFailure::Empty));
    assert_eq!(other.read_slice(&mut into), Err(ReadFailure::Empty));
    assert_eq!(one.try_write(b"abc"), Ok(3));
    assert_eq!(one.try_write_vectored(&[IoSlice::new(b"de"), IoSlice::new(b""), IoSlice::new(b"f")]), Ok(3));
    assert_eq!(other.read_slice(&mut into), Ok(6));
    assert_eq!(&into[..6], b"abcdef");
    assert_eq!(one.try_write(b"last"), Ok(4));
    drop(one);
    assert_eq!(other.try_read(&mut into), Ok(4));
    assert_eq!(other.try_read(&mut into), Ok(0));
    assert_eq!(other.read_slice(&mut into), Ok(0));
    assert_eq!(other.try_write(b"x"), Err(WriteFailure::Closed));
    assert_eq!(other.try_read(&mut []), Err(ReadFailure::System(Errno::INVAL.into())));
}

#[test]
fn a_vector_takes_what_it_has_room_for_and_at_most_what_is_asked_for() {
    let (one, other) = pair();
    let mut into = Vec::with_capacity(6);
    assert_eq!(other.try_read_more(&mut into, 6), Err(ReadFailure::Empty));
    assert_eq!(one.try_write(b"0123456789"), Ok(10));
    assert_eq!(other.try_read_more(&mut into, 4), Ok(4));
    assert_eq!(other.try_read_more(&mut into, usize::MAX), Ok(2));
    assert_eq!((&*into, into.capacity()), (&b"012345"[..], 6));
    let refused = Err(ReadFailure::System(Errno::INVAL.into()));
    assert_eq!(other.try_read_more(&mut into, 1), refused, "there is no room");
    into.clear();
    assert_eq!(other.try_read_more(&mut into, 0), refused);
    assert_eq!(other.try_read_more(&mut into, 6), Ok(4));
    drop(one);
    assert_eq!(other.try_read_more(&mut into, 6), Ok(0));
    assert_eq!(*into, *b"6789");
}

#[test]
fn a_peer_that_left_bytes_unread_is_not_an_ordinary_end() {
    let (one, other) = pair();
    let mut into = [0; 16];
    assert_eq!(one.try_write(b"answer"), Ok(6));
    assert_eq!(other.try_write(b"request"), Ok(7));
    drop(one);
    assert_eq!(other.try_write(b"x"), Err(WriteFailure::Closed));
    assert_eq!(other.try_read(&mut into), Ok(6), "what it had sent comes first");
    for _ in 0..3 {
        assert_eq!(other.try_read(&mut into), Err(ReadFailure::Reset));
    }
    assert_eq!(other.unread(), Ok(0));
}

#[test]
fn unread_is_zero_exactly_when_all_was_read() {
    let (one, other) = pair();
    assert_eq!(one.unread(), Ok(0));
    let written = [vec![1; 1], vec![2; 5000], vec![3; 70]];
    for part in &written {
        assert_eq!(one.try_write(part), Ok(part.len()));
    }
    let mut left: usize = written.iter().map(Vec::len).sum();
    while left > 0 {
        assert!(one.unread().unwrap() > 0, "{left} bytes are left");
        assert_eq!(other.unread(), Ok(0), "the other direction has none");
        left -= other.try_read(&mut [0; 7]).unwrap();
    }
    assert_eq!(one.unread(), Ok(0));
}

#[test]
fn a_full_stream_takes_no_more_and_is_ready_again_after_a_read() {
    let (one, other) = pair();
    let now = Deadline::after(Duration::ZERO);
    assert_eq!(one.ready(Interest::ReadOrWrite, now), Ok(Ready { read: false, write: true }));
    let mut left = fill(&one);
    assert_eq!(one.try_write_vectored(&[IoSlice::new(b"x")]), Err(WriteFailure::Full));
    let nothing = Ok(Ready { read: false, write: false });
    assert_eq!(one.ready(Interest::ReadOrWrite, now), nothing);
    assert_eq!(one.ready(Interest::Write, Deadline::NEVER), nothing, "after a slice");
    assert_eq!(other.ready(Interest::Read, now), Ok(Ready { read: true, write: false }));
    while left > 0 {
        left -= other.try_read(&mut [0; 4096]).unwrap();
    }
    assert_eq!(one.ready(Interest::Write, Deadline::NEVER), Ok(Ready { read: false, write: true }));
    drop(other);
    assert_eq!(one.ready(Interest::ReadOrWrite, Deadline::NEVER), Ok(Ready { read: true, write: true }));
    assert_eq!(one.ready(Interest::Read, Deadline::NEVER), Ok(Ready { read: true, write: false }));
}

#[test]
fn one_write_takes_as_many_slices_as_the_kernel_does() {
    let (one, other) = pair();
    let slices = vec![IoSlice::new(b"x"); WRITE_SLICES_MAX + 1];
    assert_eq!(one.try_write_vectored(&slices[1..]), Ok(WRITE_SLICES_MAX));
    assert_eq!(one.try_write_vectored(&slices), Ok(WRITE_SLICES_MAX));
    assert_eq!(other.try_read(&mut [0; 4096]), Ok(2 * WRITE_SLICES_MAX));
}

#[test]
fn only_streams_are_taken_and_made_blocking() {
    let before = BeforeOpening::now();
    let (packets, _other) = pair_of(SocketType::SEQPACKET);
    assert_eq!(Stream::of(packets, before).unwrap_err(), NotTaken::System(Errno::PROTOTYPE.into()));
    let (one, other) = pair_of(SocketType::STREAM);
    ioctl_fionbio(&one, true).unwrap();
    let one = Stream::of(one, before).unwrap();
    let flags = rustix::fs::fcntl_getfl(one.file().unwrap()).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
    let flags = rustix::io::fcntl_getfd(one.file().unwrap()).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    drop(other);
}

#[test]
fn dropping_a_stream_ends_it_for_its_copies_too() {
    let (one, other) = pair();
    let copy = one.file().unwrap().try_clone_to_owned().unwrap();
    drop(one);
    assert_eq!(other.try_read(&mut [0; 8]), Ok(0));
    assert_eq!(shutdown(&copy, Shutdown::Both), Ok(()));
}

#[test]
fn both_ends_are_of_this_user() {
    let (one, _other) = pair();
    assert_eq!(peer_user(one.file().unwrap()), Ok(own_user()));
    assert_eq!(peer_process(one.file().unwrap()).unwrap().pid, Some(own_process()));
    assert!(peer_user(std::fs::File::open("/dev/null").unwrap()).is_err());
}

#[test]
fn errors_say_what_happened() {
    assert!(NotTaken::TooMany.to_string().contains(&CLOSED_ON_FORK_MAX.to_string()));
    assert!(OtherProcess.to_string().contains("forked"));
}

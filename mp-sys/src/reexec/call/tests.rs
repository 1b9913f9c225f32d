//! Calls that arrive, beside the test harness's threads, and calls that do not.

use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

use super::*;
use crate::child::Ended;
use crate::reexec::order;

const PATIENCE: Duration = Duration::from_secs(30);

/// The first byte and the length of the body make the argument; the result is the exit code. Each descriptor receives
/// one byte.
struct Bytes;

impl Run<u64, i32> for Bytes {
    fn run(worker: fn(u64) -> i32, given: Given) -> i32 {
        for file in given.descriptors {
            File::from(file).write_all(b"!").unwrap();
        }
        let first = u64::from(given.body.first().copied().unwrap_or(0));
        worker(first + u64::try_from(given.body.len()).unwrap())
    }
}

fn below_100(number: u64) -> i32 {
    i32::try_from(number % 100).unwrap()
}

fn start(body: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(ChildProcess, Line), StartError> {
    Call::new::<Bytes, u64, i32>(below_100)?.start("worker", body, descriptors)
}

fn ended((child, line): &(ChildProcess, Line)) -> (Ended, Option<Refusal>) {
    let ended = child.wait(Deadline::after(PATIENCE)).unwrap().unwrap();
    // The refusal is the same each time.
    assert_eq!(line.refusal(), line.refusal());
    (ended, line.refusal())
}

#[test]
fn short_and_long_bodies_arrive_with_their_descriptors() {
    for len in [0, 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 3 << 20] {
        let (mut reads, writes) = std::io::pipe().unwrap();
        let body = vec![7; len];
        let started = start(&body, &[writes.as_fd(), writes.as_fd()]).unwrap();
        drop(writes);
        let expected = below_100(if len == 0 { 0 } else { u64::try_from(len).unwrap() + 7 });
        assert_eq!(ended(&started), (Ended::Exited(expected), None), "{len}");
        let mut written = String::new();
        reads.read_to_string(&mut written).unwrap();
        assert_eq!(written, "!!");
    }
}

#[test]
fn a_call_has_limits_of_bytes_and_descriptors() {
    let too_large = start(&vec![0; CALL_BYTES_MAX + 1], &[]).unwrap_err();
    assert_eq!(too_large, StartError::TooLarge { found: CALL_BYTES_MAX + 1, limit: CALL_BYTES_MAX });
    let (_reads, writes) = std::io::pipe().unwrap();
    let mut many = vec![writes.as_fd(); CALL_DESCRIPTORS_MAX];
    let started = start(&vec![1; INLINE_BYTES_MAX + 1], &many).unwrap();
    assert_eq!(ended(&started).1, None);
    many.extend([writes.as_fd(); 3]);
    assert_eq!(start(&[], &many).unwrap_err(), StartError::TooManyDescriptors);
}

#[test]
fn an_address_outside_the_programs_code_is_not_called() {
    let foreign = (libc::getpid as *const ()).addr();
    let own = (below_100 as *const ()).addr();
    for (glue, worker) in [(foreign, own), (own, foreign), (0, own)] {
        assert_eq!(Call::at(glue, worker).unwrap_err(), StartError::NotInProgram);
    }
    let call = Call::new::<Bytes, u64, i32>(below_100).unwrap();
    for bad in [Call { glue: 0, ..call }, Call { worker: u64::MAX, ..call }] {
        let started = bad.start("worker", &[], &[]).unwrap();
        assert_eq!(ended(&started), (Ended::Exited(REFUSED_EXIT_CODE), Some(Refusal::NoCode)));
    }
}

#[test]
fn a_child_without_its_call_ends() {
    let (child, endpoint) = Command::new(enter).unwrap().start().unwrap();
    drop(endpoint);
    let ended = child.wait(Deadline::after(PATIENCE)).unwrap();
    assert_eq!(ended, Some(Ended::Exited(REFUSED_EXIT_CODE)));
    let (child, endpoint) = Command::new(enter).unwrap().start().unwrap();
    let head = Head { word: 1, long: 0 };
    endpoint.send(head, &mut [0; OVERHEAD_BYTES + PLACES_BYTES], &[], &[], Patience::None).unwrap();
    assert_eq!(self::ended(&(child, Line::new(endpoint))).1, Some(Refusal::Malformed));
}

/// So only a fork server can return `Busy`.
#[test]
fn an_order_and_a_call_fit_into_the_smallest_buffer() {
    let (own, _other) = Endpoint::pair().unwrap();
    rustix::net::sockopt::set_socket_send_buffer_size(&own, 1).unwrap();
    own.send(Head { word: 0, long: 0 }, &mut [0; order::PACKET_BYTES_MAX], &[], &[], Patience::None).unwrap();
    let call = Call::new::<Bytes, u64, i32>(below_100).unwrap();
    let (_reads, writes) = std::io::pipe().unwrap();
    let many = vec![writes.as_fd(); CALL_DESCRIPTORS_MAX];
    call.send(&own, &vec![1; INLINE_BYTES_MAX + 1], &many, Patience::None).unwrap();
    // A call that would go inline if there were room fits as well.
    let (own, _other) = Endpoint::pair().unwrap();
    rustix::net::sockopt::set_socket_send_buffer_size(&own, 1).unwrap();
    own.send(Head { word: 0, long: 0 }, &mut [0; order::PACKET_BYTES_MAX], &[], &[], Patience::None).unwrap();
    call.send(&own, &vec![1; INLINE_BYTES_MAX], &many, Patience::None).unwrap();
    // Beside it there is no room for a third packet.
    let full = std::iter::repeat_with(|| call.send(&own, &[], &[], Patience::None)).take(100);
    assert_eq!(full.filter_map(Result::err).next(), Some(StartError::Busy));
}

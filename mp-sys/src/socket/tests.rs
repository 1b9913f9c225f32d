//! Packets within one process.

use std::io::IoSlice;

use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

use super::*;

const HEAD: [u8; HEAD_BYTES] = [7; HEAD_BYTES];
const NOW: Patience = Patience::None;

fn within_a_second() -> Patience {
    Patience::Until(Deadline::after(Duration::from_secs(1)))
}

fn receive(endpoint: &Endpoint) -> Result<(Received, Vec<u8>), ReceiveFailure> {
    let mut body = vec![0; 1 << 16];
    let received = endpoint.receive(&mut body, NOW)?;
    body.truncate(received.body_len);
    Ok((received, body))
}

#[test]
fn a_packet_arrives_whole_with_its_descriptors() {
    let (one, other) = Endpoint::pair().unwrap();
    one.send(HEAD, b"body", &[one.as_fd(), other.as_fd()], NOW).unwrap();
    one.send(HEAD, b"", &[], within_a_second()).unwrap();
    let (received, body) = receive(&other).unwrap();
    assert_eq!((received.head, body.as_slice()), (HEAD, &b"body"[..]));
    assert_eq!(received.descriptors.len(), 2);
    let (received, body) = receive(&other).unwrap();
    assert!(body.is_empty() && received.descriptors.is_empty());
    assert_eq!(receive(&other).unwrap_err(), ReceiveFailure::Empty);
}

#[test]
fn the_real_length_of_a_packet_that_does_not_fit_is_told() {
    let (one, other) = Endpoint::pair().unwrap();
    one.send(HEAD, &[1; 100], &[], NOW).unwrap();
    let mut small = [0; 10];
    let received = other.receive(&mut small, within_a_second()).unwrap();
    assert_eq!((received.body_len, small), (100, [1; 10]));
}

#[test]
fn the_end_comes_after_what_was_sent() {
    let (one, other) = Endpoint::pair().unwrap();
    let copy = one.duplicate().unwrap();
    one.send(HEAD, b"last", &[], NOW).unwrap();
    // What `one` has not read would turn the end into a reset.
    other.send(HEAD, b"unread", &[], NOW).unwrap();
    drop(one);
    assert_eq!(receive(&other).unwrap().1, b"last");
    assert_eq!(receive(&other).unwrap_err(), ReceiveFailure::Empty, "the copy is open");
    drop(copy);
    assert_eq!(other.receive(&mut [], within_a_second()).unwrap_err(), ReceiveFailure::Closed);
    assert_eq!(other.send(HEAD, b"", &[], NOW), Err(SendFailure::Closed));
}

#[test]
fn a_reset_does_not_hide_what_was_sent_before() {
    let (one, other) = Endpoint::pair().unwrap();
    other.send(HEAD, b"unread", &[], NOW).unwrap();
    one.send(HEAD, b"first", &[], NOW).unwrap();
    one.send(HEAD, b"second", &[], NOW).unwrap();
    drop(one);
    assert_eq!(receive(&other).unwrap().1, b"first");
    assert_eq!(receive(&other).unwrap().1, b"second");
    assert_eq!(receive(&other).unwrap_err(), ReceiveFailure::Closed);
}

#[test]
fn waits_end_with_their_deadline_also_on_a_descriptor_that_does_not_block() {
    let (one, other) = Endpoint::pair().unwrap();
    let soon = || Patience::Until(Deadline::after(Duration::from_millis(5)));
    let later = || Patience::Until(Deadline::after(SLICE + Duration::from_millis(5)));
    assert_eq!(other.receive(&mut [], soon()).unwrap_err(), ReceiveFailure::Empty);
    assert_eq!(other.receive(&mut [], later()).unwrap_err(), ReceiveFailure::Empty);
    rustix::io::ioctl_fionbio(&other, true).unwrap();
    assert_eq!(other.receive(&mut [], later()).unwrap_err(), ReceiveFailure::Empty);
    while one.send(HEAD, &[0; 60_000], &[], NOW).is_ok() {}
    assert_eq!(one.send(HEAD, &[0; 60_000], &[], soon()), Err(SendFailure::Full));
    assert_eq!(one.send(HEAD, &[0; 60_000], &[], later()), Err(SendFailure::Full));
}

#[test]
fn what_is_no_packet_is_told_and_gone() {
    let (one, other) = Endpoint::pair().unwrap();
    let raw = |bytes: &[u8]| {
        let mut none = SendAncillaryBuffer::default();
        sendmsg(&one, &[IoSlice::new(bytes)], &mut none, SendFlags::NOSIGNAL).unwrap();
        receive(&other).unwrap_err()
    };
    let mut good = [0; OVERHEAD_BYTES];
    good[..4].copy_from_slice(&[MAGIC, VERSION, 0, 0]);
    for garbage in [&b"x"[..], &[0; 1000], &good[..3], &good[..OVERHEAD_BYTES - 1]] {
        assert!(matches!(raw(garbage), ReceiveFailure::Malformed(_)), "{garbage:?}");
    }
    for (at, value) in [(1, VERSION + 1), (3, 1)] {
        let mut bad = good;
        bad[at] = value;
        assert!(matches!(raw(&bad), ReceiveFailure::Malformed(_)), "{bad:?}");
    }
    one.send(HEAD, b"next", &[], NOW).unwrap();
    assert_eq!(receive(&other).unwrap().1, b"next");
}

#[test]
fn descriptors_up_to_the_limit() {
    let (one, other) = Endpoint::pair().unwrap();
    let copies = |count: usize| vec![one.as_fd(); count];
    one.send(HEAD, b"", &copies(DESCRIPTORS_MAX), NOW).unwrap();
    assert_eq!(receive(&other).unwrap().0.descriptors.len(), DESCRIPTORS_MAX);
    for above in [DESCRIPTORS_MAX + 1, 256, 300] {
        assert_eq!(one.send(HEAD, b"", &copies(above), NOW), Err(SendFailure::TooManyDescriptors));
    }
}

#[test]
fn only_a_packet_socket_is_an_endpoint() {
    assert!(Endpoint::of(rustix::pipe::pipe().unwrap().0).is_err());
    let (stream, _other) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    assert!(Endpoint::of(stream).is_err());
    let (packet, other) = Endpoint::pair().unwrap();
    let again = Endpoint::of(packet.as_fd().try_clone_to_owned().unwrap()).unwrap();
    again.send(HEAD, b"x", &[], NOW).unwrap();
    assert_eq!(receive(&other).unwrap().1, b"x");
}

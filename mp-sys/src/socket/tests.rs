//! Tests of packets within one process.

use std::io::IoSlice;

use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

use super::*;

const HEAD: Head = Head { word: 0x0102_0304, long: 7 };
const NOW: Patience = Patience::None;

fn within_a_second() -> Patience {
    Patience::Until(Deadline::after(Duration::from_secs(1)))
}

/// Sends as the tier does, with the body as a separate argument.
fn send(
    endpoint: &Endpoint,
    body: &[u8],
    descriptors: &[BorrowedFd<'_>],
    patience: Patience,
) -> Result<(), SendFailure> {
    let mut packet = vec![0; OVERHEAD_BYTES];
    // Both parts of a packet, so that the tests cover both ways of sending.
    let (first, rest) = body.split_at(body.len() / 2 * usize::from(body.len().is_multiple_of(2)));
    packet.extend_from_slice(first);
    endpoint.send(HEAD, &mut packet, rest, descriptors, patience)
}

fn receive_within(endpoint: &Endpoint, patience: Patience) -> Result<(Received, Vec<u8>), ReceiveFailure> {
    let mut packet = vec![0; 1 << 16];
    let received = endpoint.receive(&mut packet, patience)?;
    let body = packet[OVERHEAD_BYTES..OVERHEAD_BYTES + received.body_len].to_vec();
    Ok((received, body))
}

fn receive(endpoint: &Endpoint) -> Result<(Received, Vec<u8>), ReceiveFailure> {
    receive_within(endpoint, NOW)
}

#[test]
fn a_packet_arrives_whole_with_its_descriptors() {
    let (one, other) = Endpoint::pair().unwrap();
    send(&one, b"body", &[one.as_fd(), other.as_fd()], NOW).unwrap();
    send(&one, b"", &[], within_a_second()).unwrap();
    let (received, body) = receive(&other).unwrap();
    assert_eq!((received.head, body.as_slice()), (HEAD, &b"body"[..]));
    assert_eq!(received.descriptors.len(), 2);
    let (received, body) = receive(&other).unwrap();
    assert!(body.is_empty() && received.descriptors.is_empty());
    assert_eq!(receive(&other).unwrap_err(), ReceiveFailure::Empty);
}

#[test]
fn the_real_length_of_a_packet_that_does_not_fit_is_reported() {
    let (one, other) = Endpoint::pair().unwrap();
    send(&one, &[1; 100], &[], NOW).unwrap();
    let mut small = [0; OVERHEAD_BYTES + 10];
    let received = other.receive(&mut small, within_a_second()).unwrap();
    assert_eq!((received.body_len, &small[OVERHEAD_BYTES..]), (100, &[1; 10][..]));
}

#[test]
fn the_end_comes_after_what_was_sent() {
    let (one, other) = Endpoint::pair().unwrap();
    let copy = one.duplicate().unwrap();
    send(&one, b"last", &[], NOW).unwrap();
    // If `one` did not read it, the end would become a reset.
    send(&other, b"unread", &[], NOW).unwrap();
    drop(one);
    assert_eq!(receive(&other).unwrap().1, b"last");
    assert_eq!(receive(&other).unwrap_err(), ReceiveFailure::Empty, "the copy is open");
    drop(copy);
    assert_eq!(receive_within(&other, within_a_second()).unwrap_err(), ReceiveFailure::Closed);
    assert_eq!(send(&other, b"", &[], NOW), Err(SendFailure::Closed));
}

#[test]
fn a_reset_does_not_hide_what_was_sent_before() {
    let (one, other) = Endpoint::pair().unwrap();
    send(&other, b"unread", &[], NOW).unwrap();
    send(&one, b"first", &[], NOW).unwrap();
    send(&one, b"second", &[], NOW).unwrap();
    drop(one);
    assert_eq!(receive(&other).unwrap().1, b"first");
    assert_eq!(receive(&other).unwrap().1, b"second");
    assert_eq!(receive(&other).unwrap_err(), ReceiveFailure::Closed);
}

#[test]
fn waits_on_a_non_blocking_descriptor_also_end_with_their_deadline() {
    let (one, other) = Endpoint::pair().unwrap();
    let soon = || Patience::Until(Deadline::after(Duration::from_millis(5)));
    let later = || Patience::Until(Deadline::after(SLICE + Duration::from_millis(5)));
    assert_eq!(receive_within(&other, soon()).unwrap_err(), ReceiveFailure::Empty);
    assert_eq!(receive_within(&other, later()).unwrap_err(), ReceiveFailure::Empty);
    rustix::io::ioctl_fionbio(&other, true).unwrap();
    assert_eq!(receive_within(&other, later()).unwrap_err(), ReceiveFailure::Empty);
    while send(&one, &[0; 60_000], &[], NOW).is_ok() {}
    assert_eq!(send(&one, &[0; 60_000], &[], soon()), Err(SendFailure::Full));
    assert_eq!(send(&one, &[0; 60_000], &[], later()), Err(SendFailure::Full));
}

#[test]
fn malformed_packets_are_reported_and_lost() {
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
    send(&one, b"next", &[], NOW).unwrap();
    assert_eq!(receive(&other).unwrap().1, b"next");
}

#[test]
fn a_packet_carries_descriptors_up_to_the_limit() {
    let (one, other) = Endpoint::pair().unwrap();
    let copies = |count: usize| vec![one.as_fd(); count];
    send(&one, b"", &copies(DESCRIPTORS_MAX), NOW).unwrap();
    assert_eq!(receive(&other).unwrap().0.descriptors.len(), DESCRIPTORS_MAX);
    for above in [DESCRIPTORS_MAX + 1, 256, 300] {
        assert_eq!(send(&one, b"", &copies(above), NOW), Err(SendFailure::TooManyDescriptors));
    }
}

#[test]
fn only_a_packet_socket_is_an_endpoint() {
    assert!(Endpoint::of(rustix::pipe::pipe().unwrap().0).is_err());
    let (stream, _other) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    assert!(Endpoint::of(stream).is_err());
    let (packet, other) = Endpoint::pair().unwrap();
    let again = Endpoint::of(packet.as_fd().try_clone_to_owned().unwrap()).unwrap();
    send(&again, b"x", &[], NOW).unwrap();
    assert_eq!(receive(&other).unwrap().1, b"x");
}

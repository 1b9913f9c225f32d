//! Sealed streams over socket pairs, whose small buffers cut everything.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use mp_sys::handshake::STEP_BYTES_MAX;
use mp_sys::key::Key;
use mp_sys::testing::Random;
use rustix::net::sockopt;

use super::*;
use crate::limits::RECORD_BYTES_MAX;
use crate::transport::Channel;

fn key(byte: u8) -> SharedKey {
    SharedKey::of(&Key::from([byte; 32])).unwrap()
}

/// Two connected sockets of this process, which cut a stream sooner than those of TCP do.
fn sockets() -> (OwnedFd, OwnedFd) {
    let (one, other) = UnixStream::pair().unwrap();
    (one.into(), other.into())
}

fn accepting(file: OwnedFd, key: SharedKey) -> Channel {
    let stream = Stream::inherited(file).unwrap();
    let remote = Remote::accepting(&stream, Arc::new([key]), Scratch::new());
    Channel::between_hosts(stream, remote)
}

/// Lets the side that accepts take its part in the handshake, until it has something or fails.
fn answers(server: Channel) -> std::thread::JoinHandle<(Channel, Result<usize, ReadFailure>)> {
    let answer = move || {
        loop {
            match server.try_read(&mut [0; 1]) {
                Err(ReadFailure::Empty) if server.is_of_stranger() => {
                    let _ready = server.ready(Interest::Read, Deadline::after(Duration::from_secs(20)));
                }
                outcome => return (server, outcome),
            }
        }
    };
    std::thread::Builder::new().name("server".to_owned()).spawn(answer).unwrap()
}

fn connected() -> (Channel, Channel) {
    let (one, other) = sockets();
    for socket in [&one, &other] {
        // The least that the kernel accepts.
        sockopt::set_socket_send_buffer_size(socket, 1).unwrap();
        sockopt::set_socket_recv_buffer_size(socket, 1).unwrap();
    }
    let server = answers(accepting(other, key(1)));
    let stream = Stream::inherited(one).unwrap();
    let remote = Remote::connected(&stream, &key(1), Deadline::after(Duration::from_secs(20))).unwrap();
    let (server, outcome) = server.join().unwrap();
    assert_eq!(outcome, Err(ReadFailure::Empty));
    (Channel::between_hosts(stream, remote), server)
}

/// Sends `bytes` in pieces of random lengths, and receives them into buffers of random lengths.
fn transfer(from: &Channel, to: &Channel, bytes: &[u8], random: &mut Random) {
    let (mut written, mut read) = (0, Vec::new());
    while read.len() < bytes.len() {
        if written < bytes.len() {
            let len = usize::try_from(random.below(100_000)).unwrap() + 1;
            let piece = &bytes[written..bytes.len().min(written + len)];
            let (one, other) = piece.split_at(piece.len() / 3);
            match from.try_write_vectored(&[IoSlice::new(one), IoSlice::new(other)]) {
                Ok(count) => written += count,
                Err(WriteFailure::Full) => {}
                Err(failure) => panic!("{failure:?}"),
            }
        }
        let len = usize::try_from(random.below(100_000)).unwrap() + 1;
        let outcome = if len % 2 == 0 {
            let mut place = vec![0; len];
            to.try_read(&mut place).map(|count| read.extend_from_slice(&place[..count]))
        } else {
            let mut place = Vec::with_capacity(len);
            to.try_read_more(&mut place, usize::MAX).map(|count| {
                assert_eq!(count, place.len());
                read.extend_from_slice(&place);
            })
        };
        assert!(matches!(outcome, Ok(()) | Err(ReadFailure::Empty)), "{outcome:?}");
    }
    assert!(written == bytes.len() && read == bytes);
}

#[test]
fn bytes_arrive_as_they_were_written_however_the_stream_is_cut() {
    let (one, other) = connected();
    let mut random = Random::seeded(1);
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    for (from, to) in [(&one, &other), (&other, &one), (&one, &other)] {
        transfer(from, to, &bytes, &mut random);
    }
}

#[test]
fn an_end_in_the_middle_of_a_record_is_seen_by_the_read_that_takes_the_rest() {
    let (one, other) = sockets();
    let server = answers(accepting(other, key(1)));
    let raw = one.try_clone().unwrap();
    let stream = Stream::inherited(one).unwrap();
    let remote = Remote::connected(&stream, &key(1), Deadline::after(Duration::from_secs(20))).unwrap();
    let (server, _) = server.join().unwrap();
    drop(remote);
    // The first bytes of a record, and the end, as a killed process leaves them. An event loop hears of both at once.
    rustix::io::write(&raw, &[40, 0, 1, 2, 3]).unwrap();
    drop((raw, stream));
    assert_eq!(server.try_read(&mut [0; 64]), Err(ReadFailure::Reset));
}

#[test]
fn the_first_record_is_short() {
    let (one, other) = connected();
    assert_eq!(one.try_write(&[7; 1_000]), Ok(1_000));
    let mut place = [0; 2_000];
    let mut read = 0;
    while read < 1_000 {
        let _ready = other.ready(Interest::Read, Deadline::after(Duration::from_secs(20)));
        read += other.try_read(&mut place[read..]).unwrap_or(0);
    }
    assert_eq!(place[..1_000], [7; 1_000]);
    for (len, is_good) in [(STEP_BYTES_MAX, true), (STEP_BYTES_MAX + 1, false)] {
        assert_eq!(sealed::takes_first_record_of(len), is_good, "{len} bytes");
    }
}

#[test]
fn the_end_follows_what_was_written() {
    let (one, other) = connected();
    assert_eq!(one.try_write(b"last"), Ok(4));
    drop(one);
    let mut place = [0; 64];
    let deadline = Deadline::after(Duration::from_secs(20));
    while other.try_read(&mut place) == Err(ReadFailure::Empty) {
        let _ready = other.ready(Interest::Read, deadline);
    }
    assert_eq!(&place[..4], b"last");
    while other.try_read(&mut place) == Err(ReadFailure::Empty) {
        let _ready = other.ready(Interest::Read, deadline);
    }
    assert_eq!(other.try_read(&mut place), Ok(0));
}

#[test]
fn a_small_buffer_gets_a_long_record_in_parts_and_sleeps_for_none_of_them() {
    let (one, other) = connected();
    assert_eq!(one.try_write(&[7; 1_000]), Ok(1_000));
    let mut read = 0;
    while read < 1_000 {
        let _ready = other.ready(Interest::Read, Deadline::after(Duration::from_secs(20)));
        match other.try_read(&mut [0; 100]) {
            Ok(count) => {
                read += count;
                assert_eq!(other.has_more(), read < 1_000);
            }
            Err(failure) => assert_eq!(failure, ReadFailure::Empty),
        }
    }
}

#[test]
fn a_client_with_another_key_is_refused_and_told_so() {
    let (one, other) = sockets();
    let server = answers(accepting(other, key(2)));
    let stream = Stream::inherited(one).unwrap();
    let client = std::thread::Builder::new()
        .spawn(move || Remote::connected(&stream, &key(1), Deadline::after(Duration::from_secs(20))).err())
        .unwrap();
    let (server, outcome) = server.join().unwrap();
    assert_eq!(outcome, Err(refused()));
    assert_eq!(server.try_write(b"secret"), Err(WriteFailure::Full), "nothing is said to a stranger");
    drop(server);
    assert_eq!(client.join().unwrap(), Some(OpenError::Rejected));
}

#[test]
fn changed_records_end_the_stream() {
    // Between the sides is a relay that changes one byte behind the handshake.
    for changed in [0, 1, 2, 20] {
        let ((one, front), (back, other)) = (sockets(), sockets());
        let server = answers(accepting(other, key(1)));
        let relayed = std::thread::Builder::new()
            .spawn(move || {
                use std::io::{Read, Write};
                let (mut front, mut back) = (UnixStream::from(front), UnixStream::from(back));
                let mut hello = [0; HELLO_BYTES];
                front.read_exact(&mut hello).unwrap();
                back.write_all(&hello).unwrap();
                back.read_exact(&mut hello).unwrap();
                front.write_all(&hello).unwrap();
                let mut record = [0; 2 + 5 + 16];
                front.read_exact(&mut record).unwrap();
                record[changed] ^= 0x40;
                back.write_all(&record).unwrap();
                (front, back)
            })
            .unwrap();
        let stream = Stream::inherited(one).unwrap();
        let remote = Remote::connected(&stream, &key(1), Deadline::after(Duration::from_secs(20))).unwrap();
        let client = Channel::between_hosts(stream, remote);
        assert_eq!(client.try_write(b"hello"), Ok(5));
        let (server, _) = server.join().unwrap();
        let ends = relayed.join().unwrap();
        let deadline = Deadline::after(Duration::from_secs(20));
        drop(ends);
        let outcome = loop {
            let _ready = server.ready(Interest::Read, deadline);
            match server.try_read(&mut [0; 64]) {
                Err(ReadFailure::Empty) => {}
                outcome => break outcome,
            }
        };
        // A length that the first record may not have is not waited for.
        assert_eq!(outcome, Err(ReadFailure::System(Errno::BADMSG.into())), "byte {changed}");
        assert_eq!(server.try_read(&mut [0; 64]), outcome, "and so it stays");
    }
}

#[test]
fn the_least_memory_is_kept_for_an_idle_stream() {
    assert!(size_of::<Remote>() <= 512, "{}", size_of::<Remote>());
    assert_eq!(RECORD_BYTES_MAX, 32 << 10);
}

#[test]
fn both_ends_of_a_connection_are_near_if_they_have_one_address() {
    let connect = |to: &str| {
        let listener = std::net::TcpListener::bind((to, 0)).unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        [client, server].map(|socket| tcp::is_near(&Stream::inherited(socket.into()).unwrap()))
    };
    assert_eq!(connect("127.0.0.1"), [true; 2]);
    // A socket of another family has no such address.
    let (one, _other) = sockets();
    assert!(!tcp::is_near(&Stream::inherited(one).unwrap()));
}

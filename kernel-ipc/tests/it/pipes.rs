//! Sending and receiving of values and bytes, by every method.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use kernel_ipc::{Descriptor, Receiver, RecvError, SendError, Sender, duplex, pipe};
use serde::{Deserialize, Serialize};

const SHORT: Duration = Duration::from_millis(3);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle { radius: f64 },
    Named(String, Vec<Option<i32>>),
}

#[test]
fn values_arrive_in_order() {
    let (tx, rx) = pipe().unwrap();
    let shapes =
        [Shape::Point, Shape::Circle { radius: 0.5 }, Shape::Named("n".into(), vec![None, Some(-1)])];
    for shape in &shapes {
        tx.send(shape).unwrap();
    }
    drop(tx);
    let received: Vec<Shape> = rx.iter().map(Result::unwrap).collect();
    assert_eq!(received, shapes);
    assert_eq!(rx.recv(), Err(RecvError::Closed), "the end stays");
}

#[test]
fn both_ends_of_a_connection_send_and_receive() {
    let (one, other) = duplex::<u8, String>().unwrap();
    one.send(&7).unwrap();
    other.send(&"seven".to_owned()).unwrap();
    assert_eq!(other.recv().unwrap(), 7);
    assert_eq!(one.recv().unwrap(), "seven");
    drop(other);
    assert_eq!(one.recv(), Err(RecvError::Closed));
    assert_eq!(one.send(&1), Err(SendError::Closed));
}

#[test]
fn a_value_without_bytes_is_a_message() {
    let (tx, rx) = pipe::<()>().unwrap();
    tx.send(&()).unwrap();
    tx.send_bytes(b"").unwrap();
    assert_eq!(rx.recv(), Ok(()));
    assert_eq!(rx.recv_bytes().unwrap(), b"");
    assert_eq!(rx.try_recv(), Err(RecvError::Empty));
}

#[test]
fn bytes_are_received_by_every_method() {
    let (tx, rx) = pipe::<u8>().unwrap();
    for n in 1..=6 {
        tx.send_bytes(&vec![n; usize::from(n)]).unwrap();
    }
    let mut buffer = [0; 8];
    assert_eq!(rx.recv_bytes().unwrap(), [1]);
    assert_eq!(rx.try_recv_bytes().unwrap(), [2, 2]);
    assert_eq!(rx.recv_bytes_timeout(SHORT).unwrap(), [3, 3, 3]);
    assert_eq!(rx.recv_bytes_into(&mut buffer), Ok(4));
    assert_eq!(rx.try_recv_bytes_into(&mut buffer), Ok(5));
    assert_eq!(rx.recv_bytes_into_timeout(&mut buffer, SHORT), Ok(6));
    assert_eq!(buffer, [6, 6, 6, 6, 6, 6, 0, 0]);
    assert_eq!(rx.try_recv_bytes(), Err(RecvError::Empty));
    assert_eq!(rx.recv_bytes_timeout(SHORT), Err(RecvError::TimedOut));
    assert_eq!(rx.try_recv_bytes_into(&mut buffer), Err(RecvError::Empty));
    assert_eq!(rx.recv_bytes_into_timeout(&mut buffer, SHORT), Err(RecvError::TimedOut));
}

#[test]
fn a_buffer_that_is_too_short_loses_no_bytes() {
    let (tx, rx) = pipe::<()>().unwrap();
    tx.send_bytes(&[5; 4]).unwrap();
    tx.send_bytes(&[6; 3]).unwrap();
    let mut buffer = [0; 3];
    assert_eq!(rx.recv_bytes_into(&mut buffer), Err(RecvError::BufferTooShort { bytes: vec![5; 4] }));
    assert_eq!(rx.recv_bytes_into(&mut buffer), Ok(3));
}

#[test]
fn an_empty_pipe_is_an_error() {
    let (tx, rx) = pipe::<u8>().unwrap();
    assert_eq!(rx.try_recv(), Err(RecvError::Empty));
    assert_eq!(rx.recv_timeout(SHORT), Err(RecvError::TimedOut));
    assert_eq!(rx.poll(Duration::ZERO), Ok(false));
    assert_eq!(rx.poll(SHORT), Ok(false));
    tx.send(&1).unwrap();
    assert_eq!(rx.poll(Duration::ZERO), Ok(true));
    assert_eq!(rx.recv_timeout(Duration::MAX), Ok(1));
    drop(tx);
    assert_eq!(rx.poll(Duration::MAX), Ok(true), "the end of the stream counts as something to receive");
    assert_eq!(rx.recv_timeout(SHORT), Err(RecvError::Closed));
}

#[test]
fn a_full_pipe_is_an_error() {
    let (tx, rx) = pipe::<Vec<u8>>().unwrap();
    let message = vec![7; 50_000];
    let mut sent = 0;
    while tx.try_send(&message).is_ok() {
        sent += 1;
        assert!(sent < 1000, "a pipe has a capacity");
    }
    assert_eq!(tx.try_send(&message), Err(SendError::Full));
    assert_eq!(tx.try_send_bytes(&message), Err(SendError::Full));
    assert_eq!(tx.send_timeout(&message, SHORT), Err(SendError::TimedOut));
    assert_eq!(tx.send_bytes_timeout(&message, SHORT), Err(SendError::TimedOut));
    // Nothing of the refused messages is in the pipe.
    drop(tx);
    assert_eq!(rx.iter().filter(|received| received.as_ref() == Ok(&message)).count(), sent);
}

#[test]
fn the_end_comes_with_the_last_handle() {
    let (tx, rx) = pipe::<u8>().unwrap();
    let more = tx.try_clone().unwrap();
    tx.close();
    more.send(&1).unwrap();
    assert_eq!(rx.recv(), Ok(1));
    assert_eq!(rx.try_recv(), Err(RecvError::Empty));
    more.close();
    assert_eq!(rx.recv(), Err(RecvError::Closed));

    let (tx, rx) = pipe::<u8>().unwrap();
    let more = rx.try_clone().unwrap();
    rx.close();
    tx.send(&1).unwrap();
    more.close();
    assert_eq!(tx.send(&2), Err(SendError::Closed));
    assert_eq!(tx.send(&3), Err(SendError::Closed), "after the reset as well");
}

#[test]
fn a_clone_is_a_handle_with_a_descriptor_of_its_own() {
    let (tx, rx) = pipe::<u8>().unwrap();
    let (more, last) = (tx.clone(), rx.clone());
    assert_ne!(more.as_fd().as_raw_fd(), tx.as_fd().as_raw_fd());
    drop((tx, rx));
    more.send(&1).unwrap();
    assert_eq!(last.recv(), Ok(1));
    drop(more);
    assert_eq!(last.recv(), Err(RecvError::Closed));

    let (one, other) = duplex::<u8, String>().unwrap();
    other.clone().send("text").unwrap();
    assert_eq!(one.clone().recv().unwrap(), "text");
    drop(one);
    assert_eq!(other.recv(), Err(RecvError::Closed));
}

#[test]
fn a_clone_of_a_descriptor_is_the_same_file() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let descriptor = Descriptor::from(writer);
    let clone = descriptor.clone();
    for it in [descriptor, clone] {
        std::fs::File::from(it.try_into_fd().unwrap()).write_all(b"x").unwrap();
    }
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "xx", "the stream ends, since both are closed");
}

#[test]
fn shutdown_ends_the_stream_for_every_handle() {
    let (tx, rx) = pipe::<u8>().unwrap();
    let more = tx.try_clone().unwrap();
    tx.send(&1).unwrap();
    more.shutdown().unwrap();
    assert_eq!(tx.send(&2), Err(SendError::Closed));
    assert_eq!(rx.recv(), Ok(1), "what was sent before can be received");
    assert_eq!(rx.recv(), Err(RecvError::Closed));
    drop(rx);
    more.shutdown().unwrap();
}

#[test]
fn an_end_is_taken_from_its_descriptor() {
    let (tx, rx) = pipe::<u8>().unwrap();
    let again = Sender::<u8>::from_fd(tx.as_fd().try_clone_to_owned().unwrap()).unwrap();
    again.send(&5).unwrap();
    assert_eq!(rx.recv(), Ok(5));
    let file = std::fs::File::open("/dev/null").unwrap();
    let refused = Receiver::<u8>::from_fd(file.into()).unwrap_err();
    assert_eq!(refused.to_string(), "the descriptor is not an end of a pipe");
}

#[test]
fn four_threads_send_and_four_receive_on_one_end_each() {
    const EACH: u64 = 2_000;
    let (tx, rx) = pipe::<(u64, Vec<u64>)>().unwrap();
    let received = std::thread::scope(|scope| {
        for sender in 0..4 {
            let tx = tx.try_clone().unwrap();
            scope.spawn(move || {
                for n in 0..EACH {
                    tx.send(&(sender, vec![n; usize::try_from(n % 50).unwrap()])).unwrap();
                }
            });
        }
        drop(tx);
        let receivers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    rx.iter()
                        .map(Result::unwrap)
                        .inspect(|(_, ns)| assert!(ns.iter().all(|n| *n == ns[0])))
                        .count()
                })
            })
            .collect();
        receivers.into_iter().map(|receiver| receiver.join().unwrap()).sum::<usize>()
    });
    assert_eq!(received, 4 * 2_000);
}

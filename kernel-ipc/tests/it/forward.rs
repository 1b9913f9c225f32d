//! Forwarding of messages whose type the forwarding process does not know.

use std::io::{Read, Write};
use std::os::fd::AsFd;

use kernel_ipc::limits::{DESCRIPTORS_MAX, INLINE_BYTES_MAX};
use kernel_ipc::{Descriptor, Message, Queue, Receiver, RecvError, SendError, Sender, duplex, pipe};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    name: String,
    answer: Sender<u64>,
    log: Descriptor,
    queue: Queue<u8>,
}

/// Returns the same pipe, as a process sees it that does not know its type.
fn unknown<T>(rx: &Receiver<T>) -> Receiver<()> {
    Receiver::from_fd(rx.as_fd().try_clone_to_owned().unwrap()).unwrap()
}

fn unknown_sender<T>(tx: &Sender<T>) -> Sender<()> {
    Sender::from_fd(tx.as_fd().try_clone_to_owned().unwrap()).unwrap()
}

#[test]
fn handles_inside_a_message_arrive_after_two_forwards() {
    let (client, first) = pipe::<Order>().unwrap();
    let (to_second, second) = pipe::<Order>().unwrap();
    let (to_server, server) = pipe::<Order>().unwrap();
    let (answer, answers) = pipe().unwrap();
    let (mut log_reader, log) = std::io::pipe().unwrap();
    let queue = Queue::new().unwrap();
    queue.put(&7).unwrap();
    client.send(&Order { name: "one".to_owned(), answer, log: log.into(), queue }).unwrap();

    let message = unknown(&first).recv_message().unwrap();
    assert!(!message.is::<()>() && message.is::<Order>() && !message.is_bytes());
    unknown_sender(&to_second).forward(&message).unwrap();
    drop(message);
    let message = unknown(&second).try_recv_message().unwrap();
    unknown_sender(&to_server).try_forward(&message).unwrap();
    drop(message);

    let order = server.recv().unwrap();
    assert_eq!((order.name.as_str(), order.queue.get()), ("one", Ok(7)));
    order.answer.send(&42).unwrap();
    let mut log = std::fs::File::from(order.log.try_into_fd().unwrap());
    log.write_all(b"done").unwrap();
    drop((order.answer, log));
    assert_eq!(answers.recv(), Ok(42));
    assert_eq!(answers.recv(), Err(RecvError::Closed), "a copy was left on the way");
    let mut text = String::new();
    log_reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "done");
}

#[test]
fn the_type_stays_that_of_the_first_sender() {
    let (tx, rx) = pipe::<u32>().unwrap();
    let (other, received) = pipe::<i32>().unwrap();
    tx.send(&5).unwrap();
    let message = rx.recv_message().unwrap();
    other.forward(&message).unwrap();
    assert!(matches!(received.recv(), Err(RecvError::WrongType { .. })));
    assert_eq!(message.decode::<u32>(), Ok(5));
    assert!(matches!(message.decode::<i32>(), Err(RecvError::WrongType { .. })));
    assert_eq!(message.len(), 1);

    tx.send_bytes(b"plain").unwrap();
    let message = rx.recv_message().unwrap();
    assert!(message.is_bytes() && !message.is_empty());
    other.forward(&message).unwrap();
    assert_eq!((received.recv_bytes(), message.to_bytes()), (Ok(b"plain".to_vec()), Ok(b"plain".to_vec())));

    let (one, other) = duplex::<u8, String>().unwrap();
    tx.send(&6).unwrap();
    one.forward(&rx.recv_message().unwrap()).unwrap();
    assert_eq!(other.recv_message().unwrap().decode::<u32>(), Ok(6));
}

#[test]
fn a_long_message_is_decoded_and_forwarded() {
    let (tx, rx) = pipe::<Vec<u64>>().unwrap();
    let numbers: Vec<u64> = (0..100_000).map(|n| n << 40).collect();
    tx.send(&numbers).unwrap();
    let message = rx.recv_message().unwrap();
    assert!(message.len() > INLINE_BYTES_MAX);
    assert_eq!(message.decode::<Vec<u64>>().as_ref(), Ok(&numbers));
    assert_eq!(message.to_bytes().unwrap().len(), message.len());
    tx.forward(&message).unwrap();
    drop(message);
    assert_eq!(rx.recv().as_ref(), Ok(&numbers));
}

/// All receivers of a message in a file share one file with one offset.
#[test]
fn a_long_message_is_read_by_several_receivers_at_once() {
    let (tx, rx) = pipe::<()>().unwrap();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    tx.send_bytes(&bytes).unwrap();
    let message = rx.recv_message().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (copy, received) = pipe::<()>().unwrap();
            let (bytes, message) = (&bytes, &message);
            scope.spawn(move || (0..200).for_each(|_| copy.forward(message).unwrap()));
            scope.spawn(move || {
                for _ in 0..200 {
                    let received = received.recv_bytes().unwrap();
                    assert!(received == *bytes, "a receiver moved the offset of another");
                }
            });
        }
    });
}

#[test]
fn a_message_with_the_most_descriptors_is_forwarded() {
    let (tx, rx) = pipe::<Vec<Descriptor>>().unwrap();
    let null = || std::fs::File::open("/dev/null").unwrap().into();
    tx.send(&(0..DESCRIPTORS_MAX).map(|_| null()).collect::<Vec<_>>()[..]).unwrap();
    let message = rx.recv_message().unwrap();
    let copy: Message = message.clone();
    drop(message);
    tx.forward(&copy).unwrap();
    drop(copy);
    assert_eq!(rx.recv().unwrap().len(), DESCRIPTORS_MAX);
}

#[test]
fn a_message_in_hand_can_be_forwarded_after_an_error() {
    let (tx, rx) = pipe::<Sender<u8>>().unwrap();
    let (inner, inside) = pipe().unwrap();
    tx.send(&inner).unwrap();
    drop(inner);
    let message = rx.recv_message().unwrap();
    assert!(matches!(rx.try_recv_message(), Err(RecvError::Empty)));
    let (gone, receiver) = pipe::<()>().unwrap();
    drop(receiver);
    assert_eq!(gone.forward(&message), Err(SendError::Closed));
    tx.forward(&message).unwrap();
    message.decode::<Sender<u8>>().unwrap().send(&1).unwrap();
    rx.recv().unwrap().send(&2).unwrap();
    assert_eq!((inside.recv(), inside.recv()), (Ok(1), Ok(2)));
    assert_eq!(inside.try_recv(), Err(RecvError::Empty), "the message no longer has the end");
    drop(message);
    assert_eq!(inside.recv(), Err(RecvError::Closed));
    drop(tx);
    assert!(matches!(rx.recv_message(), Err(RecvError::Closed)));
}

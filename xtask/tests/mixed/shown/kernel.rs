//! Ends of pipes, listeners and queues.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use mp::{Address, Descriptor, JoinableQueue, Listener, Queue, SimpleQueue, duplex, pipe};

use super::Seen;
use crate::travel::private_name;

pub(super) fn states(seen: &mut Seen) {
    ends(seen);
    queues(seen);
    tasks(seen);
}

fn ends(seen: &mut Seen) {
    let (sender, receiver) = pipe::<u8>().unwrap();
    let fd = receiver.as_fd().as_raw_fd();
    seen.look_for(&sender, "Sender", &["fd ", "nothing to receive"]);
    seen.look(&receiver, "Receiver", &format!("fd {fd}, nothing to receive"));
    sender.send(&1).unwrap();
    seen.look(&receiver, "Receiver", &format!("fd {fd}, something to receive"));
    let message = receiver.recv_message().unwrap();
    seen.look(&message, "Message", "1 byte, 0 descriptors");
    let (one, other) = duplex::<u8, u8>().unwrap();
    seen.look_for(&one, "Connection", &["fd ", "nothing to receive"]);
    drop(other);
    // The end of the stream is something to receive as well.
    seen.look_for(&one, "Connection", &["fd ", "something to receive"]);

    let file = File::open("/dev/null").unwrap();
    let fd = file.as_raw_fd();
    seen.look(&Descriptor::from(file), "Descriptor", &format!("fd {fd}"));

    let long = "n".repeat(90);
    seen.look(&Address::from("jobs"), "Address", "\"jobs\"");
    seen.look_for(&Address::from(&*long), "Address", &["nnn…"]);
    let secret = Address::new(private_name()).key("correct horse battery staple");
    seen.look_for(&secret, "Address", &[", with a key"]);
    assert!(!format!("{secret:?}").contains("horse"));
    let listener = Listener::<u8, u8>::bind(secret.clone()).unwrap();
    seen.look_for(&listener, "Listener", &["Address(", ", with a key"]);
    assert!(!format!("{listener:?}").contains("horse"));
}

fn queues(seen: &mut Seen) {
    let queue = Queue::<u32>::bounded(2).unwrap();
    seen.look(&queue, "Queue", "0 items of 2");
    queue.put_many(&[1, 2]).unwrap();
    seen.look(&queue, "Queue", "2 items of 2");
    let iter = queue.iter();
    assert_eq!(format!("{iter:?}"), "Iter(Queue(2 items of 2))");
    seen.check(&iter, "QueueIter");
    let batch = queue.get_many(2).unwrap();
    seen.look(&batch, "Batch", "2 items left");
    queue.close().unwrap();
    seen.look(&queue, "Queue", "0 items of 2, closed");
    let simple = SimpleQueue::<u8>::new().unwrap();
    simple.put(&1).unwrap();
    seen.look(&simple, "SimpleQueue", "1 item");
}

fn tasks(seen: &mut Seen) {
    let queue = JoinableQueue::<String>::new().unwrap();
    seen.look(&queue, "JoinableQueue", "0 tasks");
    queue.put(&"line\n".repeat(100)).unwrap();
    seen.look(&queue, "JoinableQueue", "1 task");
    let task = queue.get().unwrap();
    seen.look_for(&task, "Task", &["line", "…", "delivery 1"]);
    task.requeue();
    let again = queue.get().unwrap();
    seen.look_for(&again, "Task", &["delivery 2"]);
    again.done();
    failed(seen);
}

/// A task that was handed out too often is set aside.
fn failed(seen: &mut Seen) {
    let queue = JoinableQueue::<u8>::new().unwrap();
    queue.put(&7).unwrap();
    for _ in 0..mp::MAX_DELIVERIES_DEFAULT {
        queue.get().unwrap().requeue();
    }
    assert!(queue.try_get().is_err());
    let failed = queue.failed().unwrap();
    let [task] = &*failed else { panic!("one task failed: {failed:?}") };
    seen.look_for(task, "FailedTask", &["1 byte, delivery "]);
}

//! Waiting for children and messages at once.

use std::os::fd::AsFd;
use std::time::Duration;

use mp::{fork_with, pipe, wait};
use mp_sys::testing::{PATIENCE, tests};

tests! { children_and_messages_together }

fn children_and_messages_together() {
    let (tx, rx) = pipe::<u8>().unwrap();
    let (go, gone) = pipe::<()>().unwrap();
    let child = fork_with((tx, gone), |(tx, gone)| {
        gone.recv_timeout(PATIENCE).unwrap();
        tx.send(&1).unwrap();
        gone.recv_timeout(PATIENCE).unwrap();
    })
    .unwrap();
    let both = |timeout| wait([("message", &rx as &dyn AsFd), ("child", &child)], timeout).unwrap();
    assert!(both(Duration::from_millis(5)).is_empty());
    go.send(&()).unwrap();
    assert_eq!(both(PATIENCE), ["message"]);
    rx.recv().unwrap();
    go.send(&()).unwrap();
    assert_eq!(wait(&[&child], PATIENCE).unwrap(), [0], "it has ended");
    assert_eq!(both(PATIENCE), ["message", "child"], "and so has the stream");
    child.join().unwrap();
}

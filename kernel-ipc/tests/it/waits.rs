//! Waiting for several sources at once.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsFd;
use std::time::Duration;

use kernel_ipc::{Queue, Receiver, duplex, pipe, wait};

const SHORT: Duration = Duration::from_millis(3);

#[test]
fn all_ready_sources_are_returned_in_order() {
    let pipes: Vec<_> = (0..20).map(|_| pipe::<u8>().unwrap()).collect();
    let sources: Vec<&dyn AsFd> = pipes.iter().map(|(_, rx)| -> &dyn AsFd { rx }).collect();
    assert_eq!(wait(&sources, SHORT).unwrap(), [0_usize; 0]);
    for ready in [17, 3, 9] {
        pipes[ready].0.send(&1).unwrap();
    }
    assert_eq!(wait(&sources, Duration::MAX).unwrap(), [3, 9, 17]);
    pipes[9].1.recv().unwrap();
    assert_eq!(wait(&sources, Duration::ZERO).unwrap(), [3, 17]);
}

#[test]
fn sources_of_several_kinds_can_be_mixed() {
    let (one, other) = duplex::<u8, u8>().unwrap();
    let (_tx, rx): (_, Receiver<u8>) = pipe().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let sources: [&dyn AsFd; 4] = [&rx, &reader, &one, &other];
    assert!(wait(&sources, SHORT).unwrap().is_empty());
    std::io::Write::write_all(&mut (&writer), b"x").unwrap();
    one.send(&1).unwrap();
    assert_eq!(wait(&sources, Duration::MAX).unwrap(), [1, 3]);
}

#[test]
fn waiting_for_no_sources_ends_at_the_timeout() {
    let none: [(char, &Receiver<u8>); 0] = [];
    assert!(wait(none, SHORT).unwrap().is_empty());
}

#[test]
fn a_source_that_becomes_ready_wakes_the_waiter() {
    let (tx, rx) = pipe::<u8>().unwrap();
    let (go, gone) = pipe::<u8>().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            gone.recv().unwrap();
            tx.send(&1).unwrap();
        });
        go.send(&1).unwrap();
        assert_eq!(wait(&[&rx], Duration::from_secs(30)).unwrap(), [0]);
    });
}

#[test]
fn ready_sources_are_returned_by_their_keys() {
    let names = ["one", "two", "three"];
    let pipes: HashMap<&str, _> = names.into_iter().map(|name| (name, pipe::<u8>().unwrap())).collect();
    let receivers: BTreeMap<&str, _> = pipes.iter().map(|(name, (_, rx))| (*name, rx)).collect();
    assert!(wait(&receivers, SHORT).unwrap().is_empty());
    for name in ["two", "one"] {
        pipes[name].0.send(&1).unwrap();
    }
    // The keys come in the order of the sources, which is the order of the map.
    assert_eq!(wait(&receivers, Duration::MAX).unwrap(), [&"one", &"two"]);
    pipes["one"].1.recv().unwrap();
    assert_eq!(wait(receivers, Duration::ZERO).unwrap(), ["two"]);

    // Keys may have any type, and sources may have several types, or be owned.
    let (_tx, quiet) = pipe::<()>().unwrap();
    let queue = Queue::<u8>::new().unwrap();
    let keyed = || [(String::from("quiet"), &quiet as &dyn AsFd), (String::from("queue"), &queue)];
    queue.as_fd();
    drop(wait(keyed(), Duration::ZERO).unwrap());
    while queue.try_get().is_ok() {}
    assert!(wait(keyed(), SHORT).unwrap().is_empty());
    queue.put(&5).unwrap();
    assert_eq!(wait(keyed(), Duration::MAX).unwrap(), ["queue"]);
    let owned = pipes.into_iter().map(|(name, (_, rx))| (name, rx));
    assert_eq!(wait(owned, Duration::MAX).unwrap().len(), 3, "their senders are gone");
}

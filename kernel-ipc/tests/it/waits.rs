//! Waiting for several sources.

use std::os::fd::AsFd;
use std::time::Duration;

use kernel_ipc::{Receiver, duplex, pipe, wait};

const SHORT: Duration = Duration::from_millis(3);

#[test]
fn all_that_are_ready_are_told_in_order() {
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
fn kinds_are_mixed() {
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
fn nothing_to_wait_for_waits_as_long_as_it_is_told() {
    assert!(wait(&[], SHORT).unwrap().is_empty());
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

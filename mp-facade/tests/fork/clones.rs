//! Every object is `Clone`: a second handle, which also counts for the ends that a child keeps.

use mp::{RecvError, fork_with, manager, pipe};
use mp_sys::testing::{PATIENCE, tests};

tests! {
    every_object_is_clone,
    a_clone_keeps_no_end_open_in_a_child_that_was_not_passed_it,
}

/// Compiles for types that are `Clone`. It is never called.
fn cloned<T: Clone>() {}

fn every_object_is_clone() {
    cloned::<(mp::Value<u8>, mp::Array<u8>, mp::RawValue<u8>, mp::RawArray<u8>, mp::RwLock<u8>)>();
    cloned::<(mp::Lock, mp::RLock, mp::Condition, mp::Event, mp::Semaphore, mp::BoundedSemaphore, mp::Barrier)>(
    );
    cloned::<(mp::Sender<Never>, mp::Receiver<Never>, mp::Connection<Never, Never>, mp::Descriptor)>();
    cloned::<(mp::Queue<Never>, mp::JoinableQueue<Never>, mp::SimpleQueue<Never>)>();
    cloned::<(mp::Listener<Never, Never>, mp::Address)>();
    cloned::<(manager::List<Never>, manager::Dict<Never, Never>, manager::Array<Never>, manager::Value<Never>)>(
    );
    cloned::<(manager::Queue<Never>, manager::JoinableQueue<Never>, manager::Namespace, manager::Event)>();
    cloned::<(manager::Lock, manager::RLock, manager::Condition, manager::Barrier, manager::Manager)>();
    cloned::<(manager::Semaphore, manager::BoundedSemaphore)>();
}

/// The contents of an object need not be `Clone`.
struct Never;

/// The parent's other handle of the end is in the child's memory, where nobody drops it.
fn a_clone_keeps_no_end_open_in_a_child_that_was_not_passed_it() {
    let (tx, rx) = pipe::<u8>().unwrap();
    let (go, gone) = pipe::<()>().unwrap();
    let kept = tx.clone();
    let child = fork_with((tx, gone), |(tx, gone)| {
        tx.send(&1).unwrap();
        drop(tx);
        // The child lives on without the end.
        gone.recv_timeout(PATIENCE).unwrap();
    })
    .unwrap();
    drop(kept);
    assert_eq!(rx.recv_timeout(PATIENCE), Ok(1));
    assert_eq!(rx.recv_timeout(PATIENCE), Err(RecvError::Closed));
    go.send(&()).unwrap();
    child.join().unwrap();
}

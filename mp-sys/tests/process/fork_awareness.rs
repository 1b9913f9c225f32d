//! Epochs, stamps, and state that starts afresh in a child.

use std::sync::mpsc::channel;

use mp_sys::child::{ForkAnyway, fork_anyway};
use mp_sys::fork::{Epoch, PerProcess, forks, install_handlers};
use mp_sys::identity::Stamp;
use mp_sys::testing::{ended, eventually, hang, kill, spawn, succeeded, tests};
use mp_sys::{cells::SharedCell, child::Ended, span::Chunk};

tests! {
    a_child_has_an_epoch_of_its_own,
    stamps_distinguish_the_living_from_the_dead,
    a_zombie_is_dead,
    state_starts_afresh_in_a_child,
    state_held_by_another_thread_at_the_fork_starts_afresh,
}

fn a_child_has_an_epoch_of_its_own() {
    install_handlers();
    let (epoch, count) = (Epoch::current(), forks());
    let child = spawn(|| {
        assert!(!epoch.is_current());
        assert_ne!(forks(), count);
        let own = Epoch::current();
        assert!(own.is_current());
        succeeded(&spawn(|| assert!(!own.is_current() && !epoch.is_current())));
        assert!(own.is_current());
    });
    succeeded(&child);
    assert!(epoch.is_current());
    assert_ne!(forks(), count);
}

fn stamps_distinguish_the_living_from_the_dead() {
    let own = Stamp::current();
    let mut chunk = Chunk::new(4096).unwrap();
    let (theirs, go) = (word(&mut chunk), word(&mut chunk));
    let child = spawn(|| {
        assert_ne!(Stamp::current(), own);
        assert!(own.is_alive(), "a child sees its parent");
        theirs.store(Stamp::current().to_bits());
        eventually("the parent has looked", || go.load() == 1);
    });
    eventually("the child wrote its stamp", || theirs.load() != 0);
    let stamp = Stamp::from_bits(theirs.load()).unwrap();
    assert_eq!(stamp.pid(), child.id());
    assert!(stamp.is_alive());
    go.store(1);
    succeeded(&child);
    assert!(!stamp.is_alive());
    assert_eq!(Stamp::current(), own, "the parent keeps its stamp");
}

fn word(chunk: &mut Chunk) -> SharedCell<u64> {
    SharedCell::new(chunk.cut(8).unwrap()).unwrap()
}

fn a_zombie_is_dead() {
    let mut chunk = Chunk::new(4096).unwrap();
    let theirs = word(&mut chunk);
    let child = spawn(|| {
        theirs.store(Stamp::current().to_bits());
        hang();
    });
    eventually("the child wrote its stamp", || theirs.load() != 0);
    let stamp = Stamp::from_bits(theirs.load()).unwrap();
    child.signal(9).unwrap();
    // It is not reaped yet, so the process id still exists.
    eventually("the killed child is seen as dead", || !stamp.is_alive());
    assert!(std::fs::exists(format!("/proc/{}", child.id())).unwrap());
    kill(&child);
}

static STATE: PerProcess<Vec<u32>> = PerProcess::new();

fn state_starts_afresh_in_a_child() {
    STATE.lock().push(1);
    let child = spawn(|| {
        assert!(STATE.lock().is_empty());
        STATE.lock().push(2);
        assert_eq!(*STATE.lock(), [2]);
    });
    succeeded(&child);
    assert_eq!(*STATE.lock(), [1]);
}

fn state_held_by_another_thread_at_the_fork_starts_afresh() {
    let (release, released) = channel::<()>();
    let (holds, held) = channel::<()>();
    let thread = std::thread::Builder::new().spawn(move || {
        let _state = STATE.lock();
        holds.send(()).unwrap();
        released.recv().unwrap_err();
    });
    held.recv().unwrap();
    // SAFETY: the child only takes the state below, whose lock is its own, and exits.
    let responsible = unsafe { ForkAnyway::new() };
    let child = fork_anyway(responsible, || {
        STATE.lock().push(3);
        i32::try_from(STATE.lock().len()).unwrap()
    });
    drop(release);
    thread.unwrap().join().unwrap();
    assert_eq!(ended(&child.unwrap()), Ended::Exited(1));
}

//! `RwLock` in unusual conditions: a reader has a place with its process's stamp, and a writer has a robust lock.

use mp_sys::testing::{PATIENCE, hang, kill, spawn, tests};
use shm_core::{Event, LockError, RwLock};

use super::LOOKS;
use super::exec::{become_another_program, has_become_another_program};
use super::frozen::{clean, frozen, others_go_on};
use super::namespaces::{peer, with_id_1};

tests! {
    a_writer_of_another_namespace_passes_the_lock_on,
    a_reader_of_another_namespace_is_not_taken_for_dead,
    a_writer_that_becomes_another_program_passes_the_lock_on,
    a_reader_that_becomes_another_program_counts_until_it_ends,
    a_frozen_writer_without_its_turn_delays_nobody,
    a_frozen_writer_that_has_its_turn_keeps_it,
}

fn make() -> RwLock<u64> {
    RwLock::new(1).unwrap()
}

fn times_out<G>(taken: Result<G, LockError<G>>) -> bool {
    matches!(taken, Err(LockError::TimedOut))
}

fn is_poisoned<G>(taken: Result<G, LockError<G>>) -> bool {
    matches!(taken, Err(LockError::Poisoned(_)))
}

fn a_writer_of_another_namespace_passes_the_lock_on() {
    let (lock, ready) = (make(), Event::new().unwrap());
    with_id_1(|| {
        let peer = peer(&ready, |is_ready| {
            let _held = lock.write().unwrap();
            is_ready();
            hang();
        });
        assert!(times_out(lock.read_timeout(LOOKS)));
        assert!(times_out(lock.write_timeout(LOOKS)));
        kill(&peer);
        assert!(is_poisoned(lock.read_timeout(PATIENCE)));
        assert!(is_poisoned(lock.write_timeout(PATIENCE)));
    });
}

fn a_reader_of_another_namespace_is_not_taken_for_dead() {
    let (lock, ready) = (make(), Event::new().unwrap());
    with_id_1(|| {
        let peer = peer(&ready, |is_ready| {
            let _held = lock.read().unwrap();
            is_ready();
            hang();
        });
        assert!(times_out(lock.write_timeout(LOOKS)), "it reads");
        kill(&peer);
        assert!(times_out(lock.write_timeout(LOOKS)), "it is not known that it died");
        assert_eq!(*lock.read_timeout(PATIENCE).unwrap(), 1, "readers are not concerned");
    });
}

fn a_writer_that_becomes_another_program_passes_the_lock_on() {
    let lock = make();
    let child = spawn(|| {
        let _held = lock.write().unwrap();
        become_another_program();
    });
    has_become_another_program(&child);
    assert!(is_poisoned(lock.read_timeout(PATIENCE)));
    kill(&child);
}

fn a_reader_that_becomes_another_program_counts_until_it_ends() {
    let lock = make();
    let child = spawn(|| {
        let _held = lock.read().unwrap();
        become_another_program();
    });
    has_become_another_program(&child);
    assert!(times_out(lock.write_timeout(LOOKS)), "the process lives");
    kill(&child);
    drop(lock.write_timeout(PATIENCE).unwrap());
}

fn a_frozen_writer_without_its_turn_delays_nobody() {
    let lock = make();
    others_go_on(|| clean(lock.write_timeout(PATIENCE)));
}

/// It waits for the present readers, and goes before all that come later, like a holder.
fn a_frozen_writer_that_has_its_turn_keeps_it() {
    let lock = make();
    let reader = lock.read().unwrap();
    let writer = frozen(|| drop(lock.write()));
    drop(reader);
    assert!(times_out(lock.read_timeout(LOOKS)), "a stopped process keeps what it has");
    kill(&writer);
    assert_eq!(*lock.read_timeout(PATIENCE).unwrap(), 1, "it has changed nothing");
    drop(lock.write_timeout(PATIENCE).unwrap());
}

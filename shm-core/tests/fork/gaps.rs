//! The gaps that docs/SAFETY.md lists: what is not promised, and what happens instead. If a gap is closed, its test fails.

use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use mp_sys::child::Ended;
use mp_sys::locked::CONTROL_BYTES;
use mp_sys::named::HEADER_BYTES;
use mp_sys::testing::{bare_clone, bare_fork, ended, eventually, leave, spawn, succeeded, tests};
use rustix::process::Signal;
use shm_core::{LockError, RawValue, Value, named};

tests! {
    truncating_the_file_of_a_name_ends_its_users,
    writing_to_the_file_of_a_name_takes_no_lock,
    writing_to_lock_words_makes_others_wait,
    a_guard_lends_in_a_child_of_a_bare_clone,
    the_parent_of_a_bare_clone_uses_bytes_again_that_the_child_knows,
    a_reference_taken_before_a_bare_fork_is_lent_twice,
}

fn name(of: &str) -> String {
    format!("test-{}-{of}", rustix::process::getpid().as_raw_nonzero())
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(format!("/dev/shm/mp.{name}"))
}

/// Opens the file of a name, as any process of its user can.
fn file(name: &str) -> File {
    File::options().read(true).write(true).open(path(name)).unwrap()
}

/// The offsets of the lock and the data of a named value in its file.
const LOCK_AT: u64 = HEADER_BYTES as u64;
const DATA_AT: u64 = LOCK_AT + CONTROL_BYTES as u64;

fn truncating_the_file_of_a_name_ends_its_users() {
    let name = name("cut");
    let user = spawn(|| {
        let value = Value::create(&name, 1_u64).unwrap();
        file(&name).set_len(LOCK_AT).unwrap();
        value.get().unwrap();
    });
    assert_eq!(ended(&user), Ended::Signaled(Signal::BUS.as_raw()));
    assert!(!named::names().contains(&name), "it is swept, since its header is there");
    assert!(!path(&name).exists());
}

fn writing_to_the_file_of_a_name_takes_no_lock() {
    let name = name("written");
    let value = Value::create(&name, 1_u64).unwrap();
    let held = value.lock().unwrap();
    succeeded(&spawn_writer(&name, DATA_AT, &7_u64.to_ne_bytes()));
    drop(held);
    assert_eq!(value.get(), Ok(7), "another process changed it while it was locked");
}

/// Starts a process that knows the file and nothing about locks.
fn spawn_writer(name: &str, at: u64, bytes: &[u8]) -> mp_sys::child::ChildProcess {
    mp_sys::testing::spawn_holding(|| file(name).write_all_at(bytes, at).unwrap())
}

fn writing_to_lock_words_makes_others_wait() {
    let name = name("words");
    let value = Value::create(&name, 1_u64).unwrap();
    let mut free = [0; 4];
    file(&name).read_exact_at(&mut free, LOCK_AT).unwrap();
    // Process 1 lives and holds nothing.
    succeeded(&spawn_writer(&name, LOCK_AT, &1_u32.to_ne_bytes()));
    assert!(matches!(value.try_lock(), Err(LockError::WouldBlock)));
    succeeded(&spawn_writer(&name, LOCK_AT, &free));
    assert_eq!(value.get(), Ok(1));
}

/// The child's side of a bare clone or fork, which must not return.
fn in_child(body: impl FnOnce() -> bool) -> ! {
    leave(catch_unwind(AssertUnwindSafe(body)).unwrap_or(false))
}

fn a_guard_lends_in_a_child_of_a_bare_clone() {
    let value = Value::new(1_u64).unwrap();
    let mut held = value.lock().unwrap();
    let Some(child) = bare_clone() else {
        in_child(|| {
            *held += 1;
            true
        })
    };
    succeeded(&child);
    assert_eq!(*held, 2, "the child wrote under its parent's lock");
}

fn the_parent_of_a_bare_clone_uses_bytes_again_that_the_child_knows() {
    let is_dropped = RawValue::new(0_u8).unwrap();
    let value = Value::new(1_u64).unwrap();
    let Some(child) = bare_clone() else {
        in_child(|| {
            eventually("the parent has dropped its handle", || is_dropped.load() == 1);
            value.get() == Ok(2)
        })
    };
    drop(value);
    let other = Value::new(2_u64).unwrap();
    is_dropped.store(1);
    succeeded(&child);
    assert_eq!(other.get(), Ok(2));
}

fn a_reference_taken_before_a_bare_fork_is_lent_twice() {
    let value = Value::new(1_u64).unwrap();
    let mut held = value.lock().unwrap();
    let lent = Cell::new(Some(&mut *held));
    let Some(child) = bare_fork() else {
        in_child(|| {
            *lent.take().unwrap() += 1;
            true
        })
    };
    succeeded(&child);
    assert_eq!(*lent.take().unwrap(), 2, "the child wrote under its parent's lock");
}

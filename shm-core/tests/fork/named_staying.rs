//! `persist` and `unlink`: a name that stays without holders, until it is removed.

use mp_sys::testing::{eventually, hang, kill, spawn, succeeded, tests};
use shm_core::{Event, Lock, LockError, NameError, RawValue, Semaphore, SharedMemory, Value, named};

tests! {
    a_name_stays_without_holders,
    a_name_stays_after_the_kill_of_its_last_holder,
    a_name_without_persist_disappears_with_its_last_holder,
    the_death_of_a_holder_is_known_later,
    permits_of_dead_processes_come_back_later,
    unlink_frees_the_name,
    unlink_leaves_another_objects_name_alone,
    an_object_without_a_name,
    openers_beside_each_other_find_what_nobody_holds,
}

fn name(of: &str) -> String {
    format!("test-{}-{of}", rustix::process::getpid().as_raw_nonzero())
}

fn exists(name: &str) -> bool {
    std::fs::exists(format!("/dev/shm/mp.{name}")).unwrap()
}

fn a_name_stays_without_holders() {
    let name = name("stays");
    let value = Value::create(&name, 1_u32).unwrap();
    assert_eq!(value.name(), Some(&*name));
    value.persist().unwrap();
    value.persist().unwrap();
    drop(value);
    // Every operation that sweeps.
    assert!(named::names().contains(&name));
    assert!(named::list().iter().any(|object| object.name == name && object.is_persistent));
    drop(Value::create(&self::name("other"), 1_u8));
    assert!(exists(&name));
    assert_eq!(Value::create(&name, 2_u32).unwrap_err(), NameError::Exists);
    assert!(matches!(Value::<u8>::open(&name), Err(NameError::WrongType { .. })));
    succeeded(&spawn(|| Value::<u32>::open(&name).unwrap().set(3).unwrap()));
    let found = Value::open_or_create(&name, || panic!("it is there")).unwrap();
    assert_eq!(found.get(), Ok(3_u32));
    drop(found);
    named::unlink(&name).unwrap();
    assert!(!exists(&name));
    assert_eq!(named::unlink(&name).unwrap_err(), NameError::NotFound);
}

fn a_name_stays_after_the_kill_of_its_last_holder() {
    let name = name("killed");
    let made = RawValue::new(false).unwrap();
    let holder = spawn(|| {
        let memory = SharedMemory::create(&name, 100).unwrap();
        memory.write_at(50, b"left").unwrap();
        memory.persist().unwrap();
        made.store(true);
        hang();
    });
    eventually("it is made", || made.load());
    kill(&holder);
    let found = SharedMemory::open(&name).unwrap();
    assert_eq!(found.read(50..54).unwrap(), b"left");
    found.unlink().unwrap();
    drop(found);
    assert!(!exists(&name));
}

fn a_name_without_persist_disappears_with_its_last_holder() {
    let names = ["stays", "goes"].map(name);
    let [stays, goes] = &names;
    let both = (Value::create(stays, 1_u8).unwrap(), Value::create(goes, 1_u8).unwrap());
    both.0.persist().unwrap();
    drop(both);
    assert!(exists(stays) && !exists(goes));
    named::unlink(stays).unwrap();
}

/// The kernel marks a dead holder's lock even if no other process has mapped the memory.
fn the_death_of_a_holder_is_known_later() {
    let name = name("lock");
    let held = RawValue::new(false).unwrap();
    let holder = spawn(|| {
        let lock = Lock::create(&name).unwrap();
        lock.persist().unwrap();
        let _guard = lock.lock().unwrap();
        held.store(true);
        hang();
    });
    eventually("the lock is held", || held.load());
    kill(&holder);
    let found = Lock::open(&name).unwrap();
    assert!(matches!(found.try_lock(), Err(LockError::Poisoned(_))));
    found.clear_poison();
    drop(found.try_lock().unwrap());
    found.unlink().unwrap();
}

fn permits_of_dead_processes_come_back_later() {
    let name = name("semaphore");
    let held = RawValue::new(false).unwrap();
    let holder = spawn(|| {
        let semaphore = Semaphore::create(&name, 1).unwrap();
        semaphore.persist().unwrap();
        let _permit = semaphore.acquire();
        held.store(true);
        hang();
    });
    eventually("the permit is taken", || held.load());
    kill(&holder);
    let found = Semaphore::open(&name).unwrap();
    drop(found.try_acquire().unwrap());
    found.unlink().unwrap();
}

fn unlink_frees_the_name() {
    let name = name("unlink");
    let old = Event::create(&name).unwrap();
    old.unlink().unwrap();
    assert!(!exists(&name));
    old.set();
    assert!(old.is_set(), "the object stays");
    assert_eq!(old.unlink().unwrap_err(), NameError::NotFound);
    assert_eq!(old.persist().unwrap_err(), NameError::NotFound);
}

fn unlink_leaves_another_objects_name_alone() {
    let name = name("another");
    let old = Value::create(&name, 1_u8).unwrap();
    old.unlink().unwrap();
    let new = Value::create(&name, 2_u8).unwrap();
    assert_eq!(old.unlink().unwrap_err(), NameError::NotFound);
    assert_eq!(old.persist().unwrap_err(), NameError::NotFound);
    assert_eq!(Value::<u8>::open(&name).unwrap().get(), Ok(2));
    drop((old, new));
    assert!(!exists(&name), "the new name is not persistent");
}

fn an_object_without_a_name() {
    let value = Value::new(1_u8).unwrap();
    assert_eq!(value.name(), None);
    assert_eq!(value.persist().unwrap_err(), NameError::Unnamed);
    assert_eq!(value.unlink().unwrap_err(), NameError::Unnamed);
}

/// Each opener tests whether a process holds the name, and so blocks the others for a moment.
fn openers_beside_each_other_find_what_nobody_holds() {
    const ROUNDS: usize = 200;
    let name = name("beside");
    Value::create(&name, 5_u64).map(|value| value.persist().unwrap()).unwrap();
    let open = || {
        for _ in 0..ROUNDS {
            assert_eq!(Value::<u64>::open(&name).unwrap().get(), Ok(5));
        }
    };
    let openers = [(); 3].map(|()| spawn(open));
    let sweeper = spawn(|| (0..ROUNDS).for_each(|_| assert!(named::names().contains(&name))));
    openers.iter().for_each(succeeded);
    succeeded(&sweeper);
    named::unlink(&name).unwrap();
}

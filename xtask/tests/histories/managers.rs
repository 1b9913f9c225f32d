//! Objects of a manager, whose clients are killed.

use std::collections::{BTreeMap, VecDeque};

use manager_rt::{Dict, GetError, Lock, LockError, Manager, PutError, Queue, Value};
use mp_sys::testing::{Random, tests};

use crate::record::{Disturb, Log, OPERATIONS, Spec, Word, check, is_linearizable, kill_one};
use crate::specs::{
    DictAnswer, DictOp, DictSpec, LockAnswer, LockOp, LockSpec, QueueAnswer, QueueOp, QueueSpec,
};

tests! {
    histories_of_a_managers_dict_are_linearizable,
    histories_of_a_managers_value_are_linearizable,
    histories_of_a_managers_queue_are_linearizable,
    histories_of_a_managers_lock_are_linearizable,
    wrong_histories_of_locks_and_dicts_are_found,
}

const HISTORIES: u64 = 150;
/// About the time that all operations of a process take, in nanoseconds.
const MOMENT_MAX: u64 = 400_000;

const WITH_AND_WITHOUT_KILLS: &[Option<u64>] = &[None, Some(MOMENT_MAX)];

/// Checks histories of several objects in one manager.
fn check_all<S: Spec, O>(
    all_kills: &[Option<u64>],
    spec: &S,
    make: impl Fn(&Manager) -> O,
    operate: impl Fn(&O, &Log, u64, &mut Random),
) {
    let manager = Manager::start().unwrap();
    for kills in all_kills.iter().copied() {
        let warm = |object: &O, log: &Log, process, random: &mut Random, begin: &dyn Fn()| {
            // The connection is made before the first operation.
            manager.info().unwrap();
            begin();
            operate(object, log, process, random);
        };
        let kill = kills.map(kill_one::<S>);
        let disturb = kill.as_ref().map(|kill| kill as Disturb<'_>);
        check((HISTORIES, disturb), spec, || make(&manager), warm);
    }
    manager.shutdown().unwrap();
}

/// Returns a small number that another process may use as well.
pub(crate) fn few(random: &mut Random) -> u64 {
    random.below(3)
}

fn some(random: &mut Random) -> Option<u64> {
    few(random).checked_sub(1)
}

fn on_dict(dict: &Dict<u64, u64>, op: DictOp) -> DictAnswer {
    match op {
        DictOp::Get(key) => DictAnswer::Found(dict.get(&key).unwrap()),
        DictOp::Set(key, value) => {
            dict.insert(&key, &value).unwrap();
            DictAnswer::Done
        }
        DictOp::CompareExchange(key, expected, new) => {
            match dict.compare_exchange(&key, expected.as_ref(), new.as_ref()).unwrap() {
                Ok(()) => DictAnswer::Done,
                Err(found) => DictAnswer::Found(found),
            }
        }
        DictOp::Add(key) => DictAnswer::Found(Some(dict.fetch_add(&key, 1).unwrap())),
    }
}

/// Returns an operation of a dict.
pub(crate) fn dict_op(random: &mut Random) -> DictOp {
    let key = random.below(2);
    match random.below(4) {
        0 => DictOp::Get(key),
        1 => DictOp::Set(key, few(random)),
        2 => DictOp::CompareExchange(key, some(random), some(random)),
        _ => DictOp::Add(key),
    }
}

fn histories_of_a_managers_dict_are_linearizable() {
    let operate = |dict: &Dict<u64, u64>, log: &Log, process, random: &mut Random| {
        for operation in 0..OPERATIONS {
            let op = dict_op(random);
            log.run(process, operation, &op, || on_dict(dict, op));
        }
    };
    check_all(WITH_AND_WITHOUT_KILLS, &DictSpec::default(), |manager| manager.dict().unwrap(), operate);
}

fn on_value(value: &Value<u64>, op: DictOp) -> DictAnswer {
    match op {
        DictOp::Get(_) => DictAnswer::Found(Some(value.get().unwrap())),
        DictOp::Set(_, new) => {
            value.set(&new).unwrap();
            DictAnswer::Done
        }
        DictOp::CompareExchange(_, expected, new) => {
            match value.compare_exchange(&expected.unwrap(), &new.unwrap()).unwrap() {
                Ok(()) => DictAnswer::Done,
                Err(found) => DictAnswer::Found(Some(found)),
            }
        }
        DictOp::Add(_) => DictAnswer::Found(Some(value.fetch_add(1).unwrap())),
    }
}

/// Returns an operation of a value.
pub(crate) fn value_op(random: &mut Random) -> DictOp {
    match random.below(4) {
        0 => DictOp::Get(0),
        1 => DictOp::Set(0, few(random)),
        2 => DictOp::CompareExchange(0, Some(few(random)), Some(few(random))),
        _ => DictOp::Add(0),
    }
}

fn histories_of_a_managers_value_are_linearizable() {
    let operate = |value: &Value<u64>, log: &Log, process, random: &mut Random| {
        for operation in 0..OPERATIONS {
            let op = value_op(random);
            log.run(process, operation, &op, || on_value(value, op));
        }
    };
    let spec = DictSpec(BTreeMap::from([(0, 0)]));
    check_all(WITH_AND_WITHOUT_KILLS, &spec, |manager| manager.value(&0).unwrap(), operate);
}

/// Puts items into a queue, and takes some.
fn use_queue(queue: &Queue<u64>, log: &Log, process: u64, random: &mut Random) {
    for operation in 0..OPERATIONS {
        let put = QueueOp::Put(process * OPERATIONS + operation);
        let op = if random.below(2) == 0 { QueueOp::Get } else { put };
        log.run(process, operation, &op, || match op {
            QueueOp::Put(item) => match queue.try_put(&item) {
                Ok(()) => QueueAnswer::Done,
                Err(PutError::Full) => QueueAnswer::Full,
                Err(other) => panic!("{other}"),
            },
            QueueOp::Get => match queue.try_get() {
                Ok(item) => QueueAnswer::Item(item),
                Err(GetError::Empty) => QueueAnswer::Empty,
                Err(other) => panic!("{other}"),
            },
        });
    }
}

fn histories_of_a_managers_queue_are_linearizable() {
    let spec = QueueSpec { items: VecDeque::new(), capacity: 3 };
    // A killed process takes an item, and gives it back later if it cannot have read the answer: that is not a single
    // operation of a queue. The crash cells of the queue test its kills.
    check_all(&[None], &spec, |manager| manager.bounded_queue(3).unwrap(), use_queue);
}

/// Takes a lock and releases it, again and again.
fn use_lock(lock: &Lock, log: &Log, process: u64, _: &mut Random) {
    let mut held = None;
    for operation in 0..OPERATIONS {
        if let Some(guard) = held.take() {
            log.run(process, operation, &LockOp::Unlock(process), || {
                drop(guard);
                LockAnswer::Done
            });
        } else if operation + 1 < OPERATIONS {
            // The last operation takes no lock: a lock that is held at the end would be released without a record.
            log.run(process, operation, &LockOp::TryLock(process), || match lock.try_lock() {
                Ok(guard) => {
                    held = Some(guard);
                    LockAnswer::Locked
                }
                Err(LockError::OwnerDied(guard)) => {
                    held = Some(guard);
                    LockAnswer::OwnerDied
                }
                Err(LockError::WouldBlock) => LockAnswer::Busy,
                Err(other) => panic!("{other}"),
            });
        }
    }
}

fn histories_of_a_managers_lock_are_linearizable() {
    check_all(WITH_AND_WITHOUT_KILLS, &LockSpec::default(), |manager| manager.lock().unwrap(), use_lock);
}

/// The check can fail: two processes hold a lock, a death is reported to no process or without a death, and a value
/// comes from nowhere.
fn wrong_histories_of_locks_and_dicts_are_found() {
    let call = |process, op: LockOp| (process, false, op.to_word());
    let got = |process, answer: LockAnswer| (process, true, answer.to_word());
    let held = [call(0, LockOp::TryLock(0)), got(0, LockAnswer::Locked), call(1, LockOp::TryLock(1))];
    let ends = |answer| is_linearizable(LockSpec::default(), &[&held[..], &[got(1, answer)]].concat());
    assert!(ends(LockAnswer::Busy) && !ends(LockAnswer::Locked) && !ends(LockAnswer::OwnerDied));
    let dead = [held[0], held[1], call(3, LockOp::Die(0)), held[2]];
    let ends = |answer| is_linearizable(LockSpec::default(), &[&dead[..], &[got(1, answer)]].concat());
    assert!(ends(LockAnswer::OwnerDied) && ends(LockAnswer::Busy) && !ends(LockAnswer::Locked));
    let get = (0, false, DictOp::Get(1).to_word());
    let found = |value| (0, true, DictAnswer::Found(value).to_word());
    assert!(is_linearizable(DictSpec::default(), &[get, found(None)]));
    assert!(!is_linearizable(DictSpec::default(), &[get, found(Some(0))]));
}

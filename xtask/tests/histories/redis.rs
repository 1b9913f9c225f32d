//! Objects of a manager in Redis, whose clients, keepers and server are killed.
//!
//! A killed keeper changes nothing, since another one takes its place. A call that Redis received before it was killed may have happened, and
//! its process does nothing more; other calls wait until Redis is there again. All sessions end with a run of Redis, so locks pass on as if
//! their holders had died.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use manager_rt::{
    CallError, Dict, GetError, ItemError, Lock, LockError, LockGuard, Manager, ObjectError, PutError, Queue,
    Value,
};
use mp_sys::child::ChildProcess;
use mp_sys::testing::leaks::children_of;
use mp_sys::testing::{Random, eventually, tests};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};

use crate::managers::{dict_op, value_op};
use crate::record::{
    Disturb, Event, Log, OPERATIONS, PROCESSES, Spec, Word, check, is_linearizable, kill_one,
};
use crate::specs::{
    DictAnswer, DictOp, DictSpec, ExclusiveSpec, LockAnswer, LockOp, LockSpec, QueueAnswer, QueueSpec,
    TakenOp, TakenSpec,
};

tests! {
    histories_of_a_dict_in_redis_are_linearizable,
    histories_of_a_value_in_redis_are_linearizable,
    histories_of_a_queue_in_redis_are_linearizable,
    histories_of_a_lock_in_redis_are_linearizable,
    wrong_histories_of_queues_in_redis_are_found,
}

const HISTORIES: u64 = 25;
/// About the time that all operations of a process take, in nanoseconds.
const MOMENT_MAX: u64 = 800_000;

/// A private Redis, which ends with this value. It answers once a change is on its disk.
struct Redis {
    process: Child,
    folder: tempfile::TempDir,
}

impl Redis {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let redis = Self { process: run(&folder), folder };
        redis.wait();
        redis
    }

    fn restart(&mut self) {
        self.end();
        std::fs::remove_file(self.folder.path().join("socket")).unwrap();
        self.process = run(&self.folder);
        self.wait();
    }

    fn end(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn wait(&self) {
        let socket = self.folder.path().join("socket");
        eventually("Redis listens", || UnixStream::connect(&socket).is_ok());
    }

    fn manager(&self) -> Manager {
        let url = format!("redis+unix://{}", self.folder.path().join("socket").display());
        Manager::connect(&url).unwrap()
    }
}

fn run(folder: &tempfile::TempDir) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    command.arg("--unixsocket").arg(folder.path().join("socket")).arg("--dir").arg(folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.end();
    }
}

/// Kills the keeper of one of the processes.
fn kill_keeper(_: &Log, children: &[ChildProcess], random: &mut Random) {
    random.pause(MOMENT_MAX);
    let victim = &children[usize::try_from(random.below(PROCESSES)).unwrap()];
    for keeper in children_of(victim.id()) {
        // It may end at this moment.
        let keeper = Pid::from_raw(keeper.try_into().unwrap()).unwrap();
        let _whichever = kill_process(keeper, Signal::KILL);
    }
}

/// Checks histories that are disturbed in each of these ways.
fn check_all<S: Spec, O>(
    manager: &Manager,
    disturbs: &[Option<Disturb<'_>>],
    spec: &S,
    make: impl Fn(&Manager) -> O,
    operate: impl Fn(&O, &Log, u64, &mut Random),
) {
    // The keepers of processes that have ended are left to this one.
    set_child_subreaper(Some(getpid())).unwrap();
    for disturb in disturbs {
        let warm = |object: &O, log: &Log, process, random: &mut Random, begin: &dyn Fn()| {
            // The session is begun before the first operation.
            let own = manager.lock().unwrap();
            drop(own.lock().unwrap());
            begin();
            operate(object, log, process, random);
        };
        check((HISTORIES, *disturb), spec, || make(manager), warm);
        reap_keepers();
    }
}

/// Waits until Redis is the only child.
fn reap_keepers() {
    let own = u32::try_from(getpid().as_raw_pid()).unwrap();
    eventually("the keepers have ended", || {
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        children_of(own).len() == 1
    });
}

fn of_object(error: ObjectError) -> CallError {
    match error {
        ObjectError::Call(error) => error,
        other => panic!("{other}"),
    }
}

fn of_item(error: ItemError) -> CallError {
    match error {
        ItemError::Object(error) => of_object(error),
        other => panic!("{other}"),
    }
}

/// Runs an operation once Redis can be reached. Returns `None` if it may have happened.
fn once<A>(operation: impl Fn() -> Result<A, CallError>) -> Option<A> {
    let answer = Cell::new(None);
    eventually("Redis serves", || match operation() {
        Ok(done) => {
            answer.set(Some(done));
            true
        }
        Err(CallError::ServerGone) => false,
        Err(CallError::OutcomeUnknown) => true,
        Err(other) => panic!("{other}"),
    });
    answer.into_inner()
}

fn exchanged(found: Result<(), Option<u64>>) -> DictAnswer {
    found.map_or_else(DictAnswer::Found, |()| DictAnswer::Done)
}

fn on_dict(dict: &Dict<u64, u64>, op: DictOp) -> Result<DictAnswer, CallError> {
    match op {
        DictOp::Get(key) => dict.get(&key).map(DictAnswer::Found).map_err(of_object),
        DictOp::Set(key, value) => dict.insert(&key, &value).map(|()| DictAnswer::Done).map_err(of_object),
        DictOp::CompareExchange(key, expected, new) => {
            dict.compare_exchange(&key, expected.as_ref(), new.as_ref()).map(exchanged).map_err(of_object)
        }
        DictOp::Add(key) => {
            dict.fetch_add(&key, 1).map(|found| DictAnswer::Found(Some(found))).map_err(of_item)
        }
    }
}

fn on_value(value: &Value<u64>, op: DictOp) -> Result<DictAnswer, CallError> {
    let found = |found| DictAnswer::Found(Some(found));
    match op {
        DictOp::Get(_) => value.get().map(found).map_err(of_object),
        DictOp::Set(_, new) => value.set(&new).map(|()| DictAnswer::Done).map_err(of_object),
        DictOp::CompareExchange(_, expected, new) => {
            let answer = value.compare_exchange(&expected.unwrap(), &new.unwrap());
            answer.map(|answer| exchanged(answer.map_err(Some))).map_err(of_object)
        }
        DictOp::Add(_) => value.fetch_add(1).map(found).map_err(of_item),
    }
}

/// Kills Redis, and starts it again. All sessions end.
fn restart<S: Spec>(redis: &RefCell<Redis>, log: &Log, random: &mut Random) {
    random.pause(MOMENT_MAX);
    (0..PROCESSES).for_each(|process| {
        S::death(process).iter().for_each(|death| log.note_death(process, death));
    });
    redis.borrow_mut().restart();
}

/// Returns what makes objects in a Redis that may be starting.
fn when_it_serves<O>(make: impl Fn(&Manager) -> O) -> impl Fn(&Manager) -> O {
    move |manager| {
        eventually("Redis serves", || manager.info().is_ok());
        make(manager)
    }
}

/// Checks histories of an object with the operations of a dict, while nobody is killed, and while clients, keepers and Redis are.
fn check_entries<O>(
    spec: &DictSpec,
    make: impl Fn(&Manager) -> O,
    op: impl Fn(&mut Random) -> DictOp,
    on: impl Fn(&O, DictOp) -> Result<DictAnswer, CallError>,
) {
    let redis = RefCell::new(Redis::start());
    let manager = redis.borrow().manager();
    let client = kill_one::<DictSpec>(MOMENT_MAX);
    let server =
        |log: &Log, _: &[ChildProcess], random: &mut Random| restart::<DictSpec>(&redis, log, random);
    let disturbs: &[Option<Disturb<'_>>] = &[None, Some(&client), Some(&kill_keeper), Some(&server)];
    check_all(&manager, disturbs, spec, when_it_serves(make), |object, log, process, random| {
        for operation in 0..OPERATIONS {
            let op = op(random);
            if !log.attempt(process, operation, &op, || once(|| on(object, op))) {
                return;
            }
        }
    });
}

fn histories_of_a_dict_in_redis_are_linearizable() {
    check_entries(&DictSpec::default(), |manager| manager.dict().unwrap(), dict_op, on_dict);
}

fn histories_of_a_value_in_redis_are_linearizable() {
    let spec = DictSpec(BTreeMap::from([(0, 0)]));
    check_entries(&spec, |manager| manager.value(&0).unwrap(), value_op, on_value);
}

fn on_queue(queue: &Queue<u64>, op: TakenOp) -> QueueAnswer {
    match op {
        TakenOp::Put(_, item) => match queue.try_put(&item) {
            Ok(()) => QueueAnswer::Done,
            Err(PutError::Full) => QueueAnswer::Full,
            Err(other) => panic!("{other}"),
        },
        _ => match queue.try_get() {
            Ok(item) => QueueAnswer::Item(item),
            Err(GetError::Empty) => QueueAnswer::Empty,
            Err(other) => panic!("{other}"),
        },
    }
}

/// Puts items into a queue, and takes some.
fn use_queue(queue: &Queue<u64>, log: &Log, process: u64, random: &mut Random) {
    for operation in 0..OPERATIONS {
        let put = TakenOp::Put(process, process * OPERATIONS + operation);
        let op = if random.below(2) == 0 { TakenOp::Get(process) } else { put };
        log.run(process, operation, &op, || on_queue(queue, op));
    }
}

/// A restart of Redis is not part of it: items may come back then that somebody has read.
fn histories_of_a_queue_in_redis_are_linearizable() {
    let redis = Redis::start();
    let kill = kill_one::<TakenSpec>(MOMENT_MAX);
    let disturbs: &[Option<Disturb<'_>>] = &[None, Some(&kill), Some(&kill_keeper)];
    let spec = TakenSpec::of(QueueSpec { items: VecDeque::new(), capacity: 3 });
    check_all(&redis.manager(), disturbs, &spec, |manager| manager.bounded_queue(3).unwrap(), use_queue);
}

/// What became of an attempt to take a lock.
#[expect(clippy::panic_in_result_fn, reason = "a test fails by a panic")]
fn taken<'a>(lock: &'a Lock, held: &mut Option<LockGuard<'a>>) -> Result<LockAnswer, CallError> {
    match lock.try_lock() {
        Ok(guard) => {
            *held = Some(guard);
            Ok(LockAnswer::Locked)
        }
        Err(LockError::OwnerDied(guard)) => {
            *held = Some(guard);
            Ok(LockAnswer::OwnerDied)
        }
        Err(LockError::WouldBlock) => Ok(LockAnswer::Busy),
        Err(LockError::Call(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

/// Releases a lock. Returns `None` if it was lost, so that it is not known who released it.
fn released(guard: LockGuard<'_>) -> Option<LockAnswer> {
    let is_lost = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_lost);
    guard.on_lost(move || told.store(true, Ordering::SeqCst));
    let was_held = guard.is_valid();
    drop(guard);
    (was_held && !is_lost.load(Ordering::SeqCst)).then_some(LockAnswer::Done)
}

/// Takes a lock and releases it, again and again. A lock that was lost with Redis passes on as that of a dead process.
fn use_lock(lock: &Lock, log: &Log, process: u64, _: &mut Random) {
    let mut held = None;
    for operation in 0..OPERATIONS {
        let is_known = if let Some(guard) = held.take() {
            log.attempt(process, operation, &LockOp::Unlock(process), || released(guard))
        } else if operation + 1 < OPERATIONS {
            // The last operation takes no lock: a lock that is held at the end would be released without a record.
            let op = LockOp::TryLock(process);
            log.attempt(process, operation, &op, || {
                let held = RefCell::new(&mut held);
                once(|| taken(lock, &mut held.borrow_mut()))
            })
        } else {
            true
        };
        if !is_known {
            log.note_loss(process, &LockOp::Die(process));
            return;
        }
    }
}

fn histories_of_a_lock_in_redis_are_linearizable() {
    let redis = RefCell::new(Redis::start());
    let manager = redis.borrow().manager();
    let make = |manager: &Manager| manager.lock().unwrap();
    let client = kill_one::<LockSpec>(MOMENT_MAX);
    let disturbs: &[Option<Disturb<'_>>] = &[None, Some(&client), Some(&kill_keeper)];
    check_all(&manager, disturbs, &LockSpec::default(), make, use_lock);
    let server =
        |log: &Log, _: &[ChildProcess], random: &mut Random| restart::<LockSpec>(&redis, log, random);
    check_all(&manager, &[Some(&server)], &ExclusiveSpec::default(), when_it_serves(make), use_lock);
}

/// The check of queues can fail: an item is delivered twice although nobody has died, or after its consumer has gone on.
fn wrong_histories_of_queues_in_redis_are_found() {
    let call = |process, op: TakenOp| (process, false, op.to_word());
    let got = |process, answer: QueueAnswer| (process, true, answer.to_word());
    let put = [call(0, TakenOp::Put(0, 7)), got(0, QueueAnswer::Done)];
    let first = [call(1, TakenOp::Get(1)), got(1, QueueAnswer::Item(7))];
    let empty = [call(1, TakenOp::Get(1)), got(1, QueueAnswer::Empty)];
    let died = [call(PROCESSES + 1, TakenOp::Die(1))];
    let again = [call(2, TakenOp::Get(2)), got(2, QueueAnswer::Item(7))];
    let spec = TakenSpec::of(QueueSpec { items: VecDeque::new(), capacity: 3 });
    let holds = |parts: &[&[Event]]| is_linearizable(spec.clone(), &parts.concat());
    assert!(holds(&[&put, &first, &died, &again]));
    assert!(!holds(&[&put, &first, &again]));
    assert!(!holds(&[&put, &first, &empty, &died, &again]));
    assert!(!holds(&[&put, &first, &died, &again, &call_again()]));
}

fn call_again() -> [Event; 2] {
    [(0, false, TakenOp::Get(0).to_word()), (0, true, QueueAnswer::Item(7).to_word())]
}

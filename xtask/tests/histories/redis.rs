//! Objects of a manager in Redis, whose clients, keepers and server are killed.
//!
//! A killed keeper changes nothing, since another one takes its place. A call that Redis received before it was killed may have happened, and
//! its process does nothing more; other calls wait until Redis is there again. Locks are not part of that: they are lost with Redis.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use manager_rt::{CallError, Dict, ItemError, Manager, ObjectError, Value};
use mp_sys::child::ChildProcess;
use mp_sys::testing::leaks::children_of;
use mp_sys::testing::{Random, eventually, tests};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};

use crate::managers::{dict_op, use_lock, use_queue, value_op};
use crate::record::{Disturb, Log, OPERATIONS, PROCESSES, Spec, check, kill_one};
use crate::specs::{DictAnswer, DictOp, DictSpec, LockSpec, QueueSpec};

tests! {
    histories_of_a_dict_in_redis_are_linearizable,
    histories_of_a_value_in_redis_are_linearizable,
    histories_of_a_queue_in_redis_are_linearizable,
    histories_of_a_lock_in_redis_are_linearizable,
}

const HISTORIES: u64 = 40;
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

/// Checks histories of an object with the operations of a dict, while clients and Redis are killed.
fn check_entries<O>(
    spec: &DictSpec,
    make: impl Fn(&Manager) -> O,
    op: impl Fn(&mut Random) -> DictOp,
    on: impl Fn(&O, DictOp) -> Result<DictAnswer, CallError>,
) {
    let redis = RefCell::new(Redis::start());
    let manager = redis.borrow().manager();
    let restart = |_: &Log, _: &[ChildProcess], random: &mut Random| {
        random.pause(MOMENT_MAX);
        redis.borrow_mut().restart();
    };
    let kill = kill_one::<DictSpec>(MOMENT_MAX);
    let operate = |object: &O, log: &Log, process, random: &mut Random| {
        for operation in 0..OPERATIONS {
            let op = op(random);
            if !log.attempt(process, operation, &op, || once(|| on(object, op))) {
                return;
            }
        }
    };
    let make = |manager: &Manager| {
        eventually("Redis serves", || manager.info().is_ok());
        make(manager)
    };
    check_all(&manager, &[None, Some(&kill), Some(&restart)], spec, make, operate);
}

fn histories_of_a_dict_in_redis_are_linearizable() {
    check_entries(&DictSpec::default(), |manager| manager.dict().unwrap(), dict_op, on_dict);
}

fn histories_of_a_value_in_redis_are_linearizable() {
    let spec = DictSpec(BTreeMap::from([(0, 0)]));
    check_entries(&spec, |manager| manager.value(&0).unwrap(), value_op, on_value);
}

/// A killed consumer takes an item and may give it back, which is not a single operation of a queue. Other tests kill consumers.
fn histories_of_a_queue_in_redis_are_linearizable() {
    let redis = Redis::start();
    let spec = QueueSpec { items: VecDeque::new(), capacity: 3 };
    let make = |manager: &Manager| manager.bounded_queue(3).unwrap();
    check_all(&redis.manager(), &[None, Some(&kill_keeper)], &spec, make, use_queue);
}

fn histories_of_a_lock_in_redis_are_linearizable() {
    let redis = Redis::start();
    let kill = kill_one::<LockSpec>(MOMENT_MAX);
    let disturbs: &[Option<Disturb<'_>>] = &[None, Some(&kill), Some(&kill_keeper)];
    check_all(&redis.manager(), disturbs, &LockSpec::default(), |manager| manager.lock().unwrap(), use_lock);
}

//! RabbitMQ, its keepers, its connections and its confirmations are lost, and each task is done once and counted until then.

use std::time::Duration;

use manager_rt::proto::Fault;
use manager_rt::{CallError, GetError, JoinableQueue, Manager, ObjectError, PutError};
use mp_sys::child::ChildProcess;
use mp_sys::testing::leaks::children_of;
use mp_sys::testing::{eventually, kill, spawn_beside_threads, succeeded};
use rustix::process::{Pid, Signal, kill_process};

use crate::both::rabbitmq::{Server, namespace};
use crate::both::{Both, PATIENCE, tasks};
use crate::cutter::Cutter;

/// How long a test waits for something that does not come.
const SILENCE: Duration = Duration::from_secs(3);
/// How often a worker looks whether all tasks have ended.
const LOOKS: Duration = Duration::from_millis(50);
/// More bytes than those of a few heartbeats, and fewer than those of a task that is put.
const PUT_BYTES: usize = 64;

/// Servers of its own, one of which can be reached over a cutter as well.
struct There {
    both: Both,
    server: Server,
    cutter: Cutter,
}

impl There {
    fn start() -> Self {
        let server = Server::start();
        let cutter = Cutter::start(server.port());
        Self { both: Both::start(), server, cutter }
    }

    /// Connects to a namespace, over the cutter, or without it.
    fn managers(&self, space: &str) -> [Manager; 2] {
        let redis = self.both.redis.url(space);
        [self.cutter.port(), self.server.port()].map(|port| {
            Manager::connect(&format!("{redis} amqp://guest:guest@127.0.0.1:{port}?ns={space}")).unwrap()
        })
    }
}

/// Works on all tasks while somebody waits for their end, and returns them.
fn worked_off(queue: &JoinableQueue<u32>) -> Vec<u32> {
    let mut done = Vec::new();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| queue.join_timeout(PATIENCE));
        while !waiting.is_finished() {
            match queue.get_timeout(LOOKS) {
                Ok(task) => done.push(task.done().unwrap()),
                // RabbitMQ is not up again yet.
                Err(GetError::TimedOut | GetError::Object(ObjectError::Call(CallError::ServerGone))) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(waiting.join().unwrap(), Ok(true));
    });
    assert_eq!(queue.unfinished(), Ok(0));
    done.sort_unstable();
    done
}

/// One server for all of them, since each start takes seconds.
#[test]
fn each_task_is_done_once_and_counted_until_then_whatever_is_lost() {
    let mut there = There::start();
    a_confirmation_is_lost(&there);
    a_put_arrives_after_it_was_given_up(&there);
    connections_are_cut(&there);
    keepers_are_killed(&there);
    rabbitmq_is_killed(&mut there);
}

/// The task counts, although its put returned an error.
fn a_confirmation_is_lost(there: &There) {
    let [over, direct] = there.managers(&namespace());
    let (queue, other) = (tasks(&over), tasks(&direct));
    queue.put(&1).unwrap();
    there.cutter.lose_answers(true);
    std::thread::scope(|scope| {
        let put = scope.spawn(|| queue.put(&2));
        eventually("it is there", || other.len() == Ok(2));
        there.cutter.cut();
        there.cutter.lose_answers(false);
        let unknown = PutError::Object(ObjectError::Call(CallError::OutcomeUnknown));
        assert_eq!(put.join().unwrap(), Err(unknown));
    });
    assert_eq!((other.unfinished(), other.join_timeout(LOOKS)), (Ok(2), Ok(false)));
    assert_eq!(worked_off(&other), [1, 2]);
}

/// Whoever waits learns that all tasks have ended, so none may be worked on later.
fn a_put_arrives_after_it_was_given_up(there: &There) {
    let [over, direct] = there.managers(&namespace());
    let (queue, other) = (tasks(&over), tasks(&direct));
    let (ready, go) = (direct.named("ready").event().unwrap(), direct.named("go").event().unwrap());
    let producer = spawn_beside_threads(|| {
        queue.put(&1).unwrap();
        ready.set().unwrap();
        go.wait().unwrap();
        drop(queue.put(&2));
    });
    ready.wait().unwrap();
    assert_eq!(other.get_timeout(PATIENCE).unwrap().done(), Ok(1));
    let held = there.cutter.hold();
    go.set().unwrap();
    eventually("it is on its way", || there.cutter.held() >= PUT_BYTES);
    kill(&producer);
    assert_eq!(
        (other.unfinished(), other.join_timeout(PATIENCE), other.unfinished()),
        (Ok(1), Ok(true), Ok(0))
    );
    drop(held);
    eventually("it is there", || other.len() == Ok(1));
    assert_eq!(other.get_timeout(SILENCE).unwrap_err(), GetError::TimedOut);
    assert_eq!((other.len(), other.unfinished(), other.join()), (Ok(0), Ok(0), Ok(())));
}

fn connections_are_cut(there: &There) {
    let [over, _] = there.managers(&namespace());
    let queue = tasks(&over);
    (1..=3).for_each(|task| queue.put(&task).unwrap());
    let held = queue.get_timeout(PATIENCE).unwrap();
    there.cutter.cut();
    assert_eq!(queue.unfinished(), Ok(3));
    // Redis decides.
    assert_eq!(held.done(), Ok(1));
    assert_eq!(worked_off(&queue), [2, 3]);
}

fn kill_keepers(process: &ChildProcess) {
    let keepers = children_of(process.id());
    assert!(keepers.len() > 1, "one for each server: {keepers:?}");
    for keeper in keepers {
        kill_process(Pid::from_raw(keeper.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    }
}

/// RabbitMQ delivers the task again, although its worker lives.
fn keepers_are_killed(there: &There) {
    let [_, direct] = there.managers(&namespace());
    let queue = tasks(&direct);
    (1..=2).for_each(|task| queue.put(&task).unwrap());
    let (started, go) = (direct.named("started").event().unwrap(), direct.named("go").event().unwrap());
    let worker = spawn_beside_threads(|| {
        let task = queue.get_timeout(PATIENCE).unwrap();
        started.set().unwrap();
        go.wait().unwrap();
        assert_eq!(task.done(), Err(ObjectError::Call(CallError::Fault(Fault::NotOwned))));
    });
    started.wait().unwrap();
    kill_keepers(&worker);
    assert_eq!(worked_off(&queue), [1, 2]);
    go.set().unwrap();
    succeeded(&worker);
    assert_eq!((queue.unfinished(), queue.join(), queue.len()), (Ok(0), Ok(()), Ok(0)));
}

fn rabbitmq_is_killed(there: &mut There) {
    let space = namespace();
    let [over, direct] = there.managers(&space);
    let (queue, other) = (tasks(&over), tasks(&direct));
    eventually("RabbitMQ has noted the queue", || there.server.has_noted(&space, "tasks"));
    (1..=3).for_each(|task| queue.put(&task).unwrap());
    let held = queue.get_timeout(PATIENCE).unwrap();
    there.server.kill();
    assert_eq!((held.done(), other.unfinished()), (Ok(1), Ok(2)));
    there.server.start_again();
    assert_eq!(worked_off(&queue), [2, 3]);
}

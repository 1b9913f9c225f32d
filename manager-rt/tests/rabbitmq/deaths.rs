//! Processes that are killed, their keepers, and forked children.

use std::time::Duration;

use manager_rt::{CallError, GetError, JoinableQueue, Manager, ObjectError};
use mp_sys::child::ChildProcess;
use mp_sys::deadline::Deadline;
use mp_sys::reexec::{Command, Handed, first_packet};
use mp_sys::robust::Patience;
use mp_sys::socket::{Endpoint, Head, OVERHEAD_BYTES};
use mp_sys::testing::leaks::children_of;
use mp_sys::testing::{eventually, is_in_state, kill, spawn_beside_threads, succeeded};
use rustix::process::{Pid, Signal, kill_process};

use crate::server::{namespace, shared};

/// How long a test waits for what must happen, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const HEAD: Head = Head { word: 0, long: 0 };

pub(crate) fn tell(endpoint: &Endpoint, text: &str) {
    let patience = Patience::Until(Deadline::after(PATIENCE));
    endpoint.send(HEAD, &mut [0; OVERHEAD_BYTES], text.as_bytes(), &[], patience).unwrap();
}

fn text_in(packet: &[u8], len: usize) -> String {
    String::from_utf8(packet[OVERHEAD_BYTES..OVERHEAD_BYTES + len].to_vec()).unwrap()
}

pub(crate) fn heard(handed: &Handed) -> String {
    let mut packet = [0; 1024];
    let received = handed.receive(&mut packet, Deadline::after(PATIENCE)).unwrap();
    text_in(&packet, received.body_len)
}

/// A process that uses the queues.
struct Other {
    child: ChildProcess,
    endpoint: Endpoint,
}

impl Other {
    fn start(main: fn(Handed) -> i32, url: &str) -> Self {
        let (child, endpoint) = Command::new(main).unwrap().label("other").start().unwrap();
        tell(&endpoint, url);
        Self { child, endpoint }
    }

    fn says(&self) -> String {
        let mut packet = [0; 1024];
        let deadline = Deadline::after(PATIENCE);
        let received = first_packet(&self.child, &self.endpoint, &mut packet, deadline).unwrap();
        text_in(&packet, received.body_len)
    }

    fn keeper(&self) -> u32 {
        let keepers = children_of(self.child.id());
        let [keeper] = keepers[..] else { panic!("{keepers:?}") };
        keeper
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        kill(&self.child);
    }
}

pub(crate) fn signal(process: u32, signal: Signal) {
    kill_process(Pid::from_raw(process.try_into().unwrap()).unwrap(), signal).unwrap();
}

fn tasks(manager: &Manager) -> JoinableQueue<u32> {
    manager.named("tasks").joinable_queue().unwrap()
}

/// The main function of a process that takes a task. It says when it has opened the queue, and when it has the task.
fn take_one(handed: Handed) -> i32 {
    let manager = Manager::connect(&heard(&handed)).unwrap();
    let queue = tasks(&manager);
    tell(handed.endpoint(), "open");
    let task = queue.get_timeout(PATIENCE).unwrap();
    tell(handed.endpoint(), &task.to_string());
    heard(&handed);
    let done = task.done();
    tell(handed.endpoint(), &format!("{done:?}"));
    heard(&handed);
    0
}

#[test]
fn a_task_of_a_killed_process_is_delivered_again() {
    let url = shared().url(&namespace());
    let manager = Manager::connect(&url).unwrap();
    let queue = tasks(&manager);
    (1..=2).for_each(|task| queue.put(&task).unwrap());
    let dying = Other::start(take_one, &url);
    assert_eq!(dying.says(), "open");
    assert_eq!(dying.says(), "1");
    kill(&dying.child);
    // It returns to the front, or the other task is there first.
    let mut got = [(); 2].map(|()| {
        let task = queue.get_timeout(PATIENCE).unwrap();
        (task.deliveries(), task.done().unwrap())
    });
    got.sort_unstable();
    assert_eq!(got, [(1, 2), (2, 1)]);
    assert_eq!(queue.try_get().unwrap_err(), GetError::Empty);
}

#[test]
fn a_task_is_lost_with_the_keeper_and_its_owner_learns_it() {
    let url = shared().url(&namespace());
    let manager = Manager::connect(&url).unwrap();
    let queue = tasks(&manager);
    queue.put(&1).unwrap();
    let owner = Other::start(take_one, &url);
    assert_eq!(owner.says(), "open");
    assert_eq!(owner.says(), "1");
    let keeper = owner.keeper();
    signal(keeper, Signal::KILL);
    eventually("the keeper is dead", || is_in_state(keeper, 'Z'));
    let again = queue.get_timeout(PATIENCE).unwrap();
    assert_eq!((*again, again.deliveries()), (1, 2));
    tell(&owner.endpoint, "done");
    let said = owner.says();
    assert!(said.contains("NotOwned"), "{said}");
    again.done().unwrap();
}

#[test]
fn a_call_that_waits_survives_its_keeper() {
    let url = shared().url(&namespace());
    let manager = Manager::connect(&url).unwrap();
    let queue = tasks(&manager);
    let waiting = Other::start(take_one, &url);
    assert_eq!(waiting.says(), "open");
    for _ in 0..2 {
        let keeper = waiting.keeper();
        signal(keeper, Signal::KILL);
        eventually("another keeper is there", || {
            children_of(waiting.child.id()).iter().any(|child| *child != keeper)
        });
    }
    queue.put(&7).unwrap();
    assert_eq!(waiting.says(), "7");
    tell(&waiting.endpoint, "done");
    assert_eq!(waiting.says(), "Ok(7)");
}

#[test]
fn a_forked_child_uses_the_queues_over_a_keeper_of_its_own() {
    let url = shared().url(&namespace());
    let manager = Manager::connect(&url).unwrap();
    let (queue, items) = (tasks(&manager), manager.named("items").queue::<u32>().unwrap());
    queue.put(&1).unwrap();
    let held = queue.get_timeout(PATIENCE).unwrap();
    let child = spawn_beside_threads(|| {
        items.put(&5).unwrap();
        queue.put(&2).unwrap();
        let own = queue.get_timeout(PATIENCE).unwrap();
        assert_eq!(own.done(), Ok(2));
    });
    succeeded(&child);
    assert_eq!(items.get_timeout(PATIENCE), Ok(5));
    assert_eq!(held.done(), Ok(1), "the task is still the parent's");
}

#[test]
fn a_proxy_that_travels_finds_its_queue() {
    let url = shared().url(&namespace());
    let manager = Manager::connect(&url).unwrap();
    for queue in [manager.bounded_queue::<u32>(3).unwrap(), manager.named("named").bounded_queue(3).unwrap()]
    {
        queue.put(&4).unwrap();
        let message = postcard::to_stdvec(&queue).unwrap();
        // Another client knows no queue yet.
        let other = Manager::connect(&url).unwrap();
        let found: manager_rt::Queue<u32> = postcard::from_bytes(&message).unwrap();
        drop(other);
        assert_eq!((found.get_timeout(PATIENCE), found.capacity()), (Ok(4), Ok(Some(3))));
    }
    let unknown = ObjectError::Call(CallError::Fault(manager_rt::proto::Fault::UnknownObject));
    let queue = manager.named("removed").queue::<u32>().unwrap();
    manager.remove("removed").unwrap();
    assert_eq!(queue.len(), Err(unknown));
}

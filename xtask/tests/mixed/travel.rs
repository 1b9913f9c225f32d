//! How objects travel: every object, in every way, and used by both processes at once.
//!
//! A [`Kit`] has one of each object of a tier, and what two processes do with them at the same time: one changes, takes
//! and sends, and the other sees it. A way is a function that brings a kit's objects to another process. The matrix is
//! each kit in each way that it can take. A way that it cannot take is an error that names the right way, in
//! [`refused`].

mod keys;
mod memory;
mod messages;
mod proxies;
mod refused;
mod stored;

use mp::{
    Address, JoinableQueue, Listener, Method, Process, Queue, Receiver, SimpleQueue, connect_timeout, duplex,
    pipe,
};
use mp_sys::testing::runner::Test;
use mp_sys::testing::{PATIENCE, tests};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::memory::NamedMemory;
pub(crate) use self::memory::{Everything, Memory};
use self::messages::Messages;
use self::proxies::Proxies;

pub(crate) fn tests() -> Vec<Test> {
    [TESTS, keys::TESTS, stored::TESTS, refused::TESTS].concat()
}

/// Objects that go to another process, and what is done with them there and here.
pub(crate) trait Kit: Sized {
    type Sent: Serialize + DeserializeOwned;

    fn new() -> Self;

    /// What goes to the other process.
    fn sent(&self) -> &Self::Sent;

    /// What the other process does, at the same time as [`here`](Self::here).
    fn there(sent: &Self::Sent);

    /// What this process sees of it.
    fn here(&self);

    /// Checks what is left when the other process has finished.
    fn end(self);
}

/// A worker that gets the objects as its argument.
fn there<K: Kit>(sent: K::Sent) {
    K::there(&sent);
}

/// A worker that receives the objects.
fn receive<K: Kit>(receiver: Receiver<K::Sent>) {
    K::there(&receiver.recv_timeout(PATIENCE).unwrap());
}

/// Does the same over a connection by name.
fn receive_by_name<K: Kit>(address: Address) {
    let connection = connect_timeout::<(), K::Sent>(address, PATIENCE).unwrap();
    K::there(&connection.recv_timeout(PATIENCE).unwrap());
}

fn inherited<K: Kit>() {
    let kit = K::new();
    let child = mp::fork(|| K::there(kit.sent())).unwrap();
    kit.here();
    child.join().unwrap();
    kit.end();
}

fn argument<K: Kit>(method: Method) {
    let kit = K::new();
    let child = Process::new().method(method).start(there::<K>, kit.sent()).unwrap();
    kit.here();
    child.join().unwrap();
    kit.end();
}

fn argument_of_fork<K: Kit>() {
    argument::<K>(Method::Fork);
}

fn argument_of_spawn<K: Kit>() {
    argument::<K>(Method::Spawn);
}

fn argument_of_the_fork_server<K: Kit>() {
    argument::<K>(Method::ForkServer);
}

/// Brings the objects of a new kit, through `send`, to a process that was started before.
fn to_one_that_is_older<K: Kit>(child: &mp::Child<()>, send: impl FnOnce(&K::Sent)) {
    let kit = K::new();
    send(kit.sent());
    kit.here();
    child.join().unwrap();
    kit.end();
}

fn pipe_to_a_forked_process<K: Kit>() {
    let (sender, receiver) = pipe().unwrap();
    let child = mp::fork_with(receiver, receive::<K>).unwrap();
    to_one_that_is_older::<K>(&child, |sent| sender.send(sent).unwrap());
}

fn pipe_to_an_executed_process<K: Kit>() {
    let (sender, receiver) = pipe().unwrap();
    let child = mp::spawn(receive::<K>, receiver).unwrap();
    to_one_that_is_older::<K>(&child, |sent| sender.send(sent).unwrap());
}

fn connection_by_name<K: Kit>() {
    let address = Address::new(private_name());
    let listener = Listener::<K::Sent, ()>::bind(address.clone()).unwrap();
    let child = mp::spawn(receive_by_name::<K>, address).unwrap();
    let connection = listener.accept_timeout(PATIENCE).unwrap();
    to_one_that_is_older::<K>(&child, |sent| connection.send(sent).unwrap());
}

/// The child makes the kit, and this process is the other one.
fn pipe_from_a_child<K: Kit>() {
    let (here, there) = duplex::<(), K::Sent>().unwrap();
    let child = mp::fork_with(there, |there| {
        let kit = K::new();
        there.send(kit.sent()).unwrap();
        kit.here();
        there.recv_timeout(PATIENCE).unwrap();
        kit.end();
    })
    .unwrap();
    let sent = here.recv_timeout(PATIENCE).unwrap();
    K::there(&sent);
    drop(sent);
    here.send(&()).unwrap();
    child.join().unwrap();
}

/// For proxies only, because a ring carries bytes.
fn ring<K: Kit>() {
    let queue = Queue::<K::Sent>::new().unwrap();
    let child = mp::fork(|| K::there(&queue.get_timeout(PATIENCE).unwrap())).unwrap();
    to_one_that_is_older::<K>(&child, |sent| queue.put(sent).unwrap());
}

fn ring_of_a_simple_queue<K: Kit>() {
    let queue = SimpleQueue::<K::Sent>::new().unwrap();
    let child = mp::fork(|| K::there(&queue.get().unwrap())).unwrap();
    to_one_that_is_older::<K>(&child, |sent| queue.put(sent).unwrap());
}

fn ring_of_tasks<K: Kit>() {
    let tasks = JoinableQueue::<K::Sent>::new().unwrap();
    let child = mp::fork(|| {
        // A worker that returns the task has only looked at it.
        drop(tasks.get_timeout(PATIENCE).unwrap());
        let task = tasks.get_timeout(PATIENCE).unwrap();
        assert_eq!(task.deliveries(), 2);
        K::there(&task);
        task.done();
    })
    .unwrap();
    to_one_that_is_older::<K>(&child, |sent| tasks.put(sent).unwrap());
    assert!(tasks.join_timeout(PATIENCE).unwrap());
}

/// Returns a name that no other test has.
pub(crate) fn private_name() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    format!("mp-test-{}-{number}", rustix::process::getpid().as_raw_nonzero())
}

/// Makes a test of each way with each kit.
macro_rules! matrix {
    ($($way:ident: $($kit:ty as $test:ident),+;)*) => {
        $($(fn $test() {
            $way::<$kit>();
        })+)*

        tests! { $($($test,)+)* }
    };
}

matrix! {
    inherited:
        Memory as memory_is_inherited, NamedMemory as named_memory_is_inherited,
        Messages as queues_and_ends_are_inherited, Proxies as proxies_are_inherited;
    argument_of_fork:
        Memory as memory_is_an_argument_of_fork, NamedMemory as named_memory_is_an_argument_of_fork,
        Messages as queues_and_ends_are_arguments_of_fork, Proxies as proxies_are_arguments_of_fork;
    argument_of_spawn:
        Memory as memory_is_an_argument_of_spawn, NamedMemory as named_memory_is_an_argument_of_spawn,
        Messages as queues_and_ends_are_arguments_of_spawn, Proxies as proxies_are_arguments_of_spawn;
    argument_of_the_fork_server:
        Memory as memory_is_an_argument_of_the_fork_server,
        NamedMemory as named_memory_is_an_argument_of_the_fork_server,
        Messages as queues_and_ends_are_arguments_of_the_fork_server,
        Proxies as proxies_are_arguments_of_the_fork_server;
    pipe_to_a_forked_process:
        Memory as memory_in_a_pipe_to_a_forked_process, NamedMemory as named_memory_in_a_pipe_to_a_forked_process,
        Messages as queues_and_ends_in_a_pipe_to_a_forked_process,
        Proxies as proxies_in_a_pipe_to_a_forked_process;
    pipe_to_an_executed_process:
        Memory as memory_in_a_pipe_to_an_executed_process,
        NamedMemory as named_memory_in_a_pipe_to_an_executed_process,
        Messages as queues_and_ends_in_a_pipe_to_an_executed_process,
        Proxies as proxies_in_a_pipe_to_an_executed_process;
    pipe_from_a_child:
        Memory as memory_in_a_pipe_from_a_child, NamedMemory as named_memory_in_a_pipe_from_a_child,
        Messages as queues_and_ends_in_a_pipe_from_a_child, Proxies as proxies_in_a_pipe_from_a_child;
    connection_by_name:
        Memory as memory_in_a_connection_by_name, NamedMemory as named_memory_in_a_connection_by_name,
        Messages as queues_and_ends_in_a_connection_by_name, Proxies as proxies_in_a_connection_by_name;
    ring: Proxies as proxies_in_a_queue;
    ring_of_a_simple_queue: Proxies as proxies_in_a_simple_queue;
    ring_of_tasks: Proxies as proxies_in_tasks;
}

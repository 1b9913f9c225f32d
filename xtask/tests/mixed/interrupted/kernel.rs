//! Pipes, listeners and queues.

use mp::{
    AcceptError, ConnectError, Event, GetError, JoinableQueue, Listener, PutError, Queue, Receiver,
    RecvError, SendError, Sender, connect_timeout, duplex, pipe,
};
use mp_sys::identity::Stamp;
use mp_sys::testing::{PATIENCE, hang, kill, spawn, succeeded};

use super::{Case, Storm, TIMEOUT, asleep_under_a_timer};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case { file: "kernel-ipc/src/halves.rs", method: "recv_timeout", run: recv },
        Case { file: "kernel-ipc/src/halves.rs", method: "recv_timeout", run: recv_of_a_connection },
        Case { file: "kernel-ipc/src/halves.rs", method: "recv_bytes_timeout", run: recv_bytes },
        Case { file: "kernel-ipc/src/halves.rs", method: "recv_bytes_into_timeout", run: recv_bytes_into },
        Case { file: "kernel-ipc/src/halves.rs", method: "recv_message_timeout", run: recv_message },
        Case { file: "kernel-ipc/src/halves.rs", method: "forward_timeout", run: forward },
        Case { file: "kernel-ipc/src/halves.rs", method: "poll", run: poll },
        Case { file: "kernel-ipc/src/halves.rs", method: "send_timeout", run: send },
        Case { file: "kernel-ipc/src/halves.rs", method: "send_timeout", run: send_much },
        Case { file: "kernel-ipc/src/halves.rs", method: "send_bytes_timeout", run: send_bytes },
        Case { file: "kernel-ipc/src/wait.rs", method: "wait", run: wait },
        Case { file: "kernel-ipc/src/listener.rs", method: "accept_timeout", run: accept },
        Case { file: "kernel-ipc/src/listener/connect.rs", method: "connect_timeout", run: connect },
        Case { file: "kernel-ipc/src/queue/typed.rs", method: "get_timeout", run: get },
        Case { file: "kernel-ipc/src/queue/typed.rs", method: "get_many_timeout", run: get_many },
        Case { file: "kernel-ipc/src/queue/put.rs", method: "put_timeout", run: put },
        Case { file: "kernel-ipc/src/queue/joinable.rs", method: "get_timeout", run: get_task },
        Case { file: "kernel-ipc/src/queue/joinable.rs", method: "put_timeout", run: put_task },
        Case { file: "kernel-ipc/src/queue/joinable.rs", method: "join_timeout", run: join_timeout },
        Case { file: "kernel-ipc/src/queue/joinable.rs", method: "join", run: join },
    ]
}

fn recv(storm: Storm) {
    let (_sender, receiver) = pipe::<u32>().unwrap();
    storm.outlasts(|timeout| receiver.recv_timeout(timeout) == Err(RecvError::TimedOut));
}

fn recv_of_a_connection(storm: Storm) {
    let (here, _there) = duplex::<u32, u32>().unwrap();
    storm.outlasts(|timeout| here.recv_timeout(timeout) == Err(RecvError::TimedOut));
}

fn recv_bytes(storm: Storm) {
    let (_sender, receiver) = pipe::<u32>().unwrap();
    storm.outlasts(|timeout| receiver.recv_bytes_timeout(timeout) == Err(RecvError::TimedOut));
}

fn recv_bytes_into(storm: Storm) {
    let (_sender, receiver) = pipe::<u32>().unwrap();
    let mut bytes = [0; 8];
    storm.outlasts(|timeout| {
        receiver.recv_bytes_into_timeout(&mut bytes, timeout) == Err(RecvError::TimedOut)
    });
}

fn recv_message(storm: Storm) {
    let (_sender, receiver) = pipe::<u32>().unwrap();
    storm.outlasts(|timeout| matches!(receiver.recv_message_timeout(timeout), Err(RecvError::TimedOut)));
}

fn forward(storm: Storm) {
    let (sender, receiver) = full();
    let message = receiver.recv_message().unwrap();
    while sender.try_forward(&message).is_ok() {}
    storm.outlasts(|timeout| sender.forward_timeout(&message, timeout) == Err(SendError::TimedOut));
}

fn poll(storm: Storm) {
    let (_sender, receiver) = pipe::<u32>().unwrap();
    storm.outlasts(|timeout| receiver.poll(timeout) == Ok(false));
}

fn full() -> (Sender<u32>, Receiver<u32>) {
    let (sender, receiver) = pipe::<u32>().unwrap();
    while sender.try_send(&1).is_ok() {}
    (sender, receiver)
}

fn send(storm: Storm) {
    let (sender, _receiver) = full();
    storm.outlasts(|timeout| sender.send_timeout(&1, timeout) == Err(SendError::TimedOut));
}

fn send_much(storm: Storm) {
    let (sender, _receiver) = pipe::<Vec<u8>>().unwrap();
    let much = vec![7; 100_000];
    while sender.try_send(&much).is_ok() {}
    storm.outlasts(|timeout| sender.send_timeout(&much, timeout) == Err(SendError::TimedOut));
}

fn send_bytes(storm: Storm) {
    let (sender, _receiver) = full();
    storm.outlasts(|timeout| sender.send_bytes_timeout(b"one", timeout) == Err(SendError::TimedOut));
}

fn wait(storm: Storm) {
    let (_sender, receiver) = pipe::<u32>().unwrap();
    storm.outlasts(|timeout| mp::wait(&[&receiver], timeout) == Ok(Vec::new()));
}

/// Returns a name that no other process has.
fn name() -> String {
    format!("interrupted-{}", Stamp::current().to_bits())
}

fn accept(storm: Storm) {
    let listener = Listener::<u32, u32>::bind(name()).unwrap();
    storm.outlasts(|timeout| matches!(listener.accept_timeout(timeout), Err(AcceptError::TimedOut)));
}

fn connect(storm: Storm) {
    let name = name();
    // The listener accepts no connection.
    let _listener = Listener::<u32, u32>::bind(name.as_str()).unwrap();
    storm.outlasts(|timeout| {
        matches!(connect_timeout::<u32, u32>(name.as_str(), timeout), Err(ConnectError::TimedOut))
    });
}

fn get(storm: Storm) {
    let queue = Queue::<u32>::new().unwrap();
    storm.outlasts(|timeout| queue.get_timeout(timeout) == Err(GetError::TimedOut));
}

fn get_many(storm: Storm) {
    let queue = Queue::<u32>::new().unwrap();
    storm.outlasts(|timeout| matches!(queue.get_many_timeout(2, timeout), Err(GetError::TimedOut)));
}

fn put(storm: Storm) {
    let queue = Queue::<u32>::bounded(1).unwrap();
    queue.put(&1).unwrap();
    storm.outlasts(|timeout| queue.put_timeout(&2, timeout) == Err(PutError::TimedOut));
}

fn get_task(storm: Storm) {
    let queue = JoinableQueue::<u32>::new().unwrap();
    storm.outlasts(|timeout| matches!(queue.get_timeout(timeout), Err(GetError::TimedOut)));
}

fn put_task(storm: Storm) {
    let queue = JoinableQueue::<u32>::bounded(1).unwrap();
    queue.put(&1).unwrap();
    storm.outlasts(|timeout| queue.put_timeout(&2, timeout) == Err(PutError::TimedOut));
}

fn join_timeout(storm: Storm) {
    let queue = JoinableQueue::<u32>::new().unwrap();
    queue.put(&1).unwrap();
    storm.outlasts(|timeout| queue.join_timeout(timeout) == Ok(false));
}

fn join(storm: Storm) {
    let (queue, never) = (JoinableQueue::<u32>::new().unwrap(), Event::new().unwrap());
    queue.put(&1).unwrap();
    let worker = spawn(|| {
        let task = queue.get_timeout(PATIENCE).unwrap();
        assert!(!never.wait_timeout(TIMEOUT));
        task.done();
    });
    storm.ends(|| queue.join() == Ok(()));
    succeeded(&worker);
}

pub(super) fn a_worker_dies() {
    let (queue, taken) = (JoinableQueue::<u32>::new().unwrap(), Event::new().unwrap());
    queue.put(&7).unwrap();
    let worker = spawn(|| {
        let _task = queue.get().unwrap();
        taken.set();
        hang();
    });
    assert!(taken.wait_timeout(PATIENCE));
    let waiter = asleep_under_a_timer(|| assert_eq!(queue.get().unwrap().done(), 7));
    let joins = asleep_under_a_timer(|| queue.join().unwrap());
    kill(&worker);
    succeeded(&waiter);
    succeeded(&joins);
}

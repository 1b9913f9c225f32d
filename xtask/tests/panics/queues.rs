//! Tier 2: items and messages whose traits panic while they are put and taken, sent and received.

use std::mem::ManuallyDrop;

use mp::{FailedTask, GetError, JoinableQueue, Queue, Receiver, Sender, SimpleQueue};

use crate::cell::{Beside, HANG, Outcome, contended, define_cells};
use crate::trap::{Item, Trap, iterated};

const BESIDE: Beside = Beside::ProcessAndThread;

define_cells! {
    "Queue", "put(T: Serialize)", || queue(Trap::Serialize, |queue| queue.put(&Item(1)).unwrap());
    "Queue", "try_put(T: Serialize)", || queue(Trap::Serialize, |queue| queue.try_put(&Item(1)).unwrap());
    "Queue", "put_timeout(T: Serialize)", || queue(Trap::Serialize, |queue| queue.put_timeout(&Item(1), HANG).unwrap());
    "Queue", "put_many(T: Serialize)", || queue(Trap::Serialize, |queue| queue.put_many(&three()).unwrap());
    "Queue", "put_many(Iterator)", || queue(Trap::Next, |queue| queue.put_many(iterated(&three())).unwrap());
    "Queue", "put_many_bytes(AsRef)", || queue(Trap::AsRef, |queue| queue.put_many_bytes(&three()).unwrap());
    "Queue", "get(T: Deserialize)", || queue(Trap::Deserialize, get);
    "Queue", "try_get(T: Deserialize)", || queue(Trap::Deserialize, try_get);
    "Queue", "get_many(T: Deserialize)", || queue(Trap::Deserialize, get_many);
    "Queue", "iter(T: Deserialize)", || queue(Trap::Deserialize, iterate);
    "Queue", "get_timeout(T: Drop)", || queue(Trap::Drop, get);
    "Queue", "bounded: put(T: Serialize)", bounded_put;
    "Queue", "bounded: put_many_bytes(AsRef)", bounded_put_bytes;
    "SimpleQueue", "put(T: Serialize)", || simple(Trap::Serialize);
    "SimpleQueue", "get(T: Deserialize)", || simple(Trap::Deserialize);
    "JoinableQueue", "put(T: Serialize)", || tasks(Trap::Serialize, |tasks| tasks.put(&Item(1)).unwrap());
    "JoinableQueue", "put_many(Iterator)", || tasks(Trap::Next, |tasks| tasks.put_many(iterated(&three())).unwrap());
    "JoinableQueue", "get(T: Deserialize)", || tasks(Trap::Deserialize, |tasks| drop(tasks.get().unwrap()));
    "JoinableQueue", "get(), a task in hand", || tasks(Trap::Closure, in_hand);
    "JoinableQueue", "Task (T: Drop)", || tasks(Trap::Drop, |tasks| drop(tasks.get().unwrap()));
    "JoinableQueue", "Task::done (T: Drop)", || tasks(Trap::Drop, done);
    "JoinableQueue", "Task (T: Debug)", || tasks(Trap::Debug, |tasks| drop(format!("{:?}", tasks.get().unwrap())));
    "JoinableQueue", "FailedTask::decode (T: Deserialize)", failed;
    "pipe", "send(T: Serialize)", || pipe(Trap::Serialize);
    "pipe", "recv(T: Deserialize)", || pipe(Trap::Deserialize);
    "pipe", "recv(T: Drop)", || pipe(Trap::Drop);
    "pipe", "Message::decode (T: Deserialize)", || pipe_with(Trap::Deserialize, decode_message);
    "wait", "(AsFd)", wait;
}

fn three() -> [Item; 3] {
    [Item(1), Item(2), Item(3)]
}

/// Each turn puts one item and takes one; the entry takes only as many as it has put.
fn turn(queue: &Queue<Item>) -> bool {
    queue.put(&Item(1)).is_ok() && queue.get_timeout(HANG).is_ok()
}

/// Checks that the remaining items can be taken, and that a new item arrives.
fn queue_works(queue: &Queue<Item>) -> bool {
    while queue.try_get_bytes().is_ok() {}
    let is_empty = queue.is_empty() && matches!(queue.try_get(), Err(GetError::Empty));
    let put = queue.put_many(&three()).is_ok() && queue.len() == 3;
    is_empty
        && put
        && [1, 2, 3].into_iter().all(|number| queue.get_timeout(HANG).is_ok_and(|item| item.0 == number))
}

fn queue(trap: Trap, entry: impl Fn(&Queue<Item>)) -> Outcome {
    contended(BESIDE, || Queue::new().unwrap(), turn, trap, entry, queue_works)
}

fn get(queue: &Queue<Item>) {
    queue.put_bytes(&[1]).unwrap();
    drop(queue.get_timeout(HANG).unwrap());
}

fn try_get(queue: &Queue<Item>) {
    queue.put_bytes(&[1]).unwrap();
    // Another contender may have the item, and soon puts its own back.
    while matches!(queue.try_get(), Err(GetError::Empty)) {
        std::thread::yield_now();
    }
}

fn get_many(queue: &Queue<Item>) {
    let bytes = [[1_u8]; 3];
    queue.put_many_bytes(&bytes).unwrap();
    let mut got = 0;
    // Takes as many items as it put, in total.
    while got < 3 {
        for item in queue.get_many_timeout(3 - got, HANG).unwrap() {
            got += 1;
            drop(item.unwrap());
        }
    }
}

fn iterate(queue: &Queue<Item>) {
    queue.put_bytes(&[1]).unwrap();
    drop(queue.iter().next().unwrap().unwrap());
}

fn bounded_turn(queue: &Queue<Item>) -> bool {
    queue.put_timeout(&Item(1), HANG).is_ok() && queue.get_timeout(HANG).is_ok()
}

/// The queue has room for as many items as all contenders together have in it: a contender sometimes waits for room,
/// but never for ever.
fn bounded_put() -> Outcome {
    let make = || Queue::bounded(4).unwrap();
    let entry = |queue: &Queue<Item>| {
        queue.put(&Item(1)).unwrap();
        drop(queue.get_bytes().unwrap());
    };
    contended(BESIDE, make, bounded_turn, Trap::Serialize, entry, queue_works)
}

fn bounded_put_bytes() -> Outcome {
    let make = || Queue::bounded(6).unwrap();
    let entry = |queue: &Queue<Item>| {
        queue.put_many_bytes(&three()).unwrap();
        (0..3).for_each(|_| drop(queue.get_bytes().unwrap()));
    };
    contended(BESIDE, make, bounded_turn, Trap::AsRef, entry, queue_works)
}

fn simple(trap: Trap) -> Outcome {
    contended(
        BESIDE,
        || SimpleQueue::<Item>::new().unwrap(),
        |queue| queue.put(&Item(1)).is_ok() && queue.get().is_ok(),
        trap,
        |queue| {
            queue.put(&Item(1)).unwrap();
            drop(queue.get().unwrap());
        },
        |queue| queue.is_empty() && queue.put(&Item(7)).is_ok() && queue.get().is_ok_and(|item| item.0 == 7),
    )
}

/// Each contender does a task in each turn; one of them does a task that was requeued.
fn tasks(trap: Trap, entry: impl Fn(&JoinableQueue<Item>)) -> Outcome {
    contended(
        BESIDE,
        || {
            let tasks = JoinableQueue::new().unwrap();
            tasks.set_max_deliveries(1000).unwrap();
            // There is always one for the entry.
            tasks.put_many(&three()).unwrap();
            tasks
        },
        |tasks| tasks.put(&Item(1)).is_ok() && tasks.get_timeout(HANG).is_ok_and(|task| task.done().0 > 0),
        trap,
        entry,
        |tasks| {
            while let Ok(task) = tasks.try_get() {
                drop(task.done());
            }
            // A task that a panic kept would be unfinished for ever.
            tasks.unfinished() == Ok(0)
                && tasks.join_timeout(HANG) == Ok(true)
                && tasks.failed().is_ok_and(|failed| failed.is_empty())
        },
    )
}

/// The task is done before it is dropped, so this first puts another one, without a drop of its own.
fn done(tasks: &JoinableQueue<Item>) {
    tasks.put(&ManuallyDrop::new(Item(1))).unwrap();
    drop(tasks.get().unwrap().done());
}

fn in_hand(tasks: &JoinableQueue<Item>) {
    let _task = tasks.get().unwrap();
    (0..4).for_each(|_| crate::trap::spring(Trap::Closure));
}

fn failed() -> Outcome {
    contended(
        BESIDE,
        || {
            let tasks = JoinableQueue::<Item>::new().unwrap();
            tasks.set_max_deliveries(1).unwrap();
            tasks.put(&Item(1)).unwrap();
            drop(tasks.get().unwrap());
            tasks
        },
        |tasks| tasks.failed().is_ok_and(|failed| failed.len() == 1),
        Trap::Deserialize,
        |tasks| {
            let failed: Vec<FailedTask> = tasks.failed().unwrap();
            for _ in 0..4 {
                drop(failed[0].decode::<Item>().unwrap());
            }
        },
        |tasks| tasks.take_failed().is_ok_and(|failed| failed.len() == 1) && tasks.unfinished() == Ok(0),
    )
}

/// Each turn sends one message and receives one, and so does the entry. The dropped value is one that was received.
fn pipe(trap: Trap) -> Outcome {
    pipe_with(trap, |ends| assert!(through(ends)))
}

type Ends = (Sender<Item>, Receiver<Item>);

fn through((sender, receiver): &Ends) -> bool {
    sender.send_timeout(&ManuallyDrop::new(Item(1)), HANG).is_ok() && receiver.recv_timeout(HANG).is_ok()
}

/// Decodes a message that was received as bytes. After a panic it is lost, as any other message is.
fn decode_message((sender, receiver): &Ends) {
    sender.send(&ManuallyDrop::new(Item(1))).unwrap();
    drop(receiver.recv_message_timeout(HANG).unwrap().decode::<Item>().unwrap());
}

fn pipe_with(trap: Trap, entry: fn(&Ends)) -> Outcome {
    contended(
        BESIDE,
        || mp::pipe::<Item>().unwrap(),
        through,
        trap,
        entry,
        |(sender, receiver)| {
            sender.send(&Item(7)).is_ok()
                && receiver.recv_timeout(HANG).is_ok_and(|item| item.0 == 7)
                && !receiver.poll(std::time::Duration::ZERO).unwrap()
        },
    )
}

/// A source that panics when it is asked for its descriptor.
struct Source<'a>(&'a Queue<Item>);

impl std::os::fd::AsFd for Source<'_> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        crate::trap::spring(Trap::AsFd);
        self.0.as_fd()
    }
}

fn wait() -> Outcome {
    queue(Trap::AsFd, |queue| {
        let (source, again) = (Source(queue), Source(queue));
        queue.put_bytes(&[1]).unwrap();
        mp::wait(&[&source, &again], HANG).unwrap();
        drop(queue.get_bytes().unwrap());
    })
}

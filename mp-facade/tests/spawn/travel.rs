//! Every shared object in the arguments of a process that inherits nothing.

use std::time::Duration;

use mp::{
    Array, Barrier, BoundedSemaphore, Condition, Connection, Descriptor, Event, JoinableQueue, Lock,
    LockError, Method, Process, Queue, RLock, RawArray, RawValue, Receiver, Semaphore, Sender, SimpleQueue,
    Value,
};
use mp_sys::testing::{PATIENCE, hang};

type Memory = (Value<u64>, Array<u32>, RawValue<i16>, RawArray<f32>);
type Locks = (Lock, RLock, Condition, Event, Semaphore, BoundedSemaphore, Barrier);

fn use_memory((value, array, raw, raws): Memory) {
    value.update(|n| n + 1).unwrap();
    array.set(1, 7).unwrap();
    raw.fetch_add(1);
    raws.set(99_999, 0.5).unwrap();
}

#[test]
fn memory() {
    let mine: Memory = (
        Value::new(1).unwrap(),
        Array::zeroed(2).unwrap(),
        RawValue::new(-1).unwrap(),
        RawArray::zeroed(100_000).unwrap(),
    );
    mp::spawn(use_memory, &mine).unwrap().join().unwrap();
    assert_eq!(mine.0.get(), Ok(2));
    assert_eq!(mine.1.to_vec().unwrap(), [0, 7]);
    assert_eq!((mine.2.load(), mine.3.get(99_999)), (0, Ok(0.5)));
}

fn use_locks((lock, rlock, condition, event, semaphore, bounded, barrier): Locks) -> usize {
    drop((rlock.lock().unwrap(), rlock.lock().unwrap()));
    bounded.acquire().forget();
    semaphore.add_permits(1).unwrap();
    drop(condition.wait_while(lock.lock().unwrap(), |_| !event.is_set()).unwrap());
    barrier.wait().unwrap()
}

#[test]
fn locks() {
    let (lock, condition, event) = (Lock::new().unwrap(), Condition::new().unwrap(), Event::new().unwrap());
    let (semaphore, bounded) = (Semaphore::new(0).unwrap(), BoundedSemaphore::new(1).unwrap());
    let (rlock, barrier) = (RLock::new().unwrap(), Barrier::new(2).unwrap());
    let child =
        mp::spawn(use_locks, (&lock, &rlock, &condition, &event, &semaphore, &bounded, &barrier)).unwrap();
    // The child has come as far as its last operation before it waits.
    semaphore.acquire_timeout(PATIENCE).unwrap().forget();
    assert!(bounded.try_acquire().is_err());
    event.set();
    drop(lock.lock().unwrap());
    condition.notify_all();
    let mine = barrier.wait_timeout(PATIENCE).unwrap();
    assert_eq!(child.join().unwrap() + mine, 1);
}

type Messages = (Sender<u8>, Receiver<u8>, Connection<u8, String>, Descriptor);

fn use_messages((tx, rx, both, file): Messages) {
    tx.send(&(rx.recv().unwrap() + 1)).unwrap();
    both.send(&3).unwrap();
    assert_eq!(both.recv().unwrap(), "four");
    std::io::Write::write_all(&mut std::fs::File::from(file.try_into_fd().unwrap()), b"five").unwrap();
}

#[test]
fn ends_and_descriptors() {
    let (to_child, child_reads) = mp::pipe().unwrap();
    let (child_sends, from_child) = mp::pipe().unwrap();
    let (here, there) = mp::duplex::<String, u8>().unwrap();
    let (mut reads, writes) = std::io::pipe().unwrap();
    let args = (child_sends, child_reads, there, Descriptor::from(writes));
    let child = mp::spawn(use_messages, args).unwrap();
    to_child.send(&1).unwrap();
    assert_eq!(from_child.recv_timeout(PATIENCE), Ok(2));
    assert_eq!(here.recv_timeout(PATIENCE), Ok(3));
    here.send(&"four".to_owned()).unwrap();
    child.join().unwrap();
    // The ends in the arguments are closed here, and the child has ended, so no process keeps them open.
    assert_eq!(from_child.recv_timeout(PATIENCE), Err(mp::RecvError::Closed));
    assert_eq!(std::io::read_to_string(&mut reads).unwrap(), "five");
}

fn use_queues((queue, simple, tasks): (Queue<u8>, SimpleQueue<u8>, JoinableQueue<u8>)) {
    let task = tasks.get().unwrap();
    queue.put(&(queue.get().unwrap() + 1)).unwrap();
    simple.put(&(simple.get().unwrap() + *task)).unwrap();
    task.done();
}

#[test]
fn queues() {
    let (queue, simple) = (Queue::new().unwrap(), SimpleQueue::new().unwrap());
    let tasks = JoinableQueue::new().unwrap();
    queue.put(&1).unwrap();
    simple.put(&2).unwrap();
    tasks.put(&3).unwrap();
    mp::spawn(use_queues, (&queue, &simple, &tasks)).unwrap().join().unwrap();
    assert!(tasks.join_timeout(Duration::ZERO).unwrap());
    assert_eq!((queue.get().unwrap(), simple.get().unwrap()), (2, 5));
}

#[test]
fn a_lock_passes_on_when_a_spawned_holder_dies() {
    let value = Value::new(1).unwrap();
    let held = Event::new().unwrap();
    let hold = |(value, held): (Value<i32>, Event)| -> () {
        let mut guard = value.lock().unwrap();
        *guard = 5;
        held.set();
        hang();
    };
    let child = mp::spawn(hold, (&value, &held)).unwrap();
    assert!(held.wait_timeout(PATIENCE));
    child.kill().unwrap();
    let Err(LockError::Poisoned(guard)) = value.lock_timeout(PATIENCE) else { panic!("not poisoned") };
    assert_eq!(*guard, 5);
    assert!(child.join().is_err());
}

type Mixed = (Queue<u64>, String, u64, Vec<u64>, Value<u64>);

fn add_up((queue, name, first, rest, sum): Mixed) -> String {
    sum.set(first + rest.iter().sum::<u64>()).unwrap();
    queue.put(&sum.get().unwrap()).unwrap();
    name + "!"
}

/// Values, references and borrowed forms in one tuple: the worker takes the owned types.
#[test]
fn arguments_mix_values_and_references() {
    let (queue, sum) = (Queue::<u64>::new().unwrap(), Value::new(0_u64).unwrap());
    let numbers = [2, 3];
    for method in [Method::Spawn, Method::ForkServer] {
        let start = || Process::new().method(method);
        let named = start().start(add_up, (&queue, "all", 1, &numbers[..], &sum)).unwrap();
        assert_eq!((named.join().unwrap().as_str(), queue.get().unwrap(), sum.get()), ("all!", 6, Ok(6)));
        let by_value = start().start(add_up, (queue.clone(), &"x".to_owned(), 2, vec![], &sum)).unwrap();
        assert_eq!((by_value.join().unwrap().as_str(), queue.get().unwrap(), sum.get()), ("x!", 2, Ok(2)));
    }
    let length = |text: String| text.len();
    assert_eq!(mp::spawn(length, "seven").unwrap().join(), Ok(5));
    let nested = |(_, (name, more)): (u8, (String, Vec<u64>))| name.len() + more.len();
    assert_eq!(mp::spawn(nested, (&1, ("two", &numbers[..]))).unwrap().join(), Ok(5));
}

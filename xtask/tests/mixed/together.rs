//! Objects of both tiers at work together.

use mp::{Array, Condition, Event, Lock, LockError, Queue, Receiver, Value, pipe};
use mp_sys::child::ChildProcess;
use mp_sys::testing::{PATIENCE, hang, kill, spawn, succeeded, tests};
use serde::de::DeserializeOwned;

tests! {
    a_value_and_a_queue_travel_in_one_message,
    a_queue_says_which_part_of_an_array_is_ready,
    three_processes_take_turns,
    a_lock_that_travelled_outlives_its_holder,
    a_value_that_a_child_made_outlives_it,
}

/// Starts children that each receive one message and work with it.
fn crew<M: DeserializeOwned>(count: u64, receiver: &Receiver<M>, work: impl Fn(u64, M)) -> Vec<ChildProcess> {
    (0..count).map(|n| spawn(|| work(n, receiver.recv_timeout(PATIENCE).unwrap()))).collect()
}

fn a_value_and_a_queue_travel_in_one_message() {
    type Message = (Value<u64>, Queue<u64>);
    let (sender, receiver) = pipe::<Message>().unwrap();
    let children = crew(3, &receiver, |_, (sum, numbers)| {
        for number in &numbers {
            let number = number.unwrap();
            sum.update(|sum| sum + number).unwrap();
        }
    });
    let message: Message = (Value::new(0).unwrap(), Queue::bounded(10).unwrap());
    for _ in &children {
        sender.send(&message).unwrap();
    }
    let (sum, numbers) = message;
    for number in 1..=1000 {
        numbers.put_timeout(&number, PATIENCE).unwrap();
    }
    numbers.close().unwrap();
    children.iter().for_each(succeeded);
    assert_eq!(sum.get(), Ok(500_500));
}

fn a_queue_says_which_part_of_an_array_is_ready() {
    const PARTS: usize = 40;
    const PART: usize = 10_000;
    type Message = (Array<u32>, Queue<(usize, u32)>);
    let (sender, receiver) = pipe::<Message>().unwrap();
    let children = crew(1, &receiver, |_, (array, ready)| {
        for part in &ready {
            let (part, expected) = part.unwrap();
            let found = array.read(part * PART..(part + 1) * PART).unwrap();
            // What was written before the put is visible after the get.
            assert!(found.iter().all(|n| *n == expected), "part {part}");
        }
    });
    let message: Message = (Array::zeroed(PARTS * PART).unwrap(), Queue::new().unwrap());
    sender.send(&message).unwrap();
    let (array, ready) = message;
    for (part, n) in (0..PARTS).zip(1..) {
        array.write(part * PART, &vec![n; PART]).unwrap();
        ready.put(&(part, n)).unwrap();
    }
    ready.close().unwrap();
    children.iter().for_each(succeeded);
}

fn three_processes_take_turns() {
    const PROCESSES: u64 = 3;
    const ROUNDS: u64 = 200;
    type Message = (Condition, Value<u64>);
    let (sender, receiver) = pipe::<Message>().unwrap();
    let children = crew(PROCESSES, &receiver, |own, (changed, turn)| {
        for _ in 0..ROUNDS {
            let guard = turn.lock_timeout(PATIENCE).unwrap();
            let is_not_mine = |turn: &mut u64| *turn % PROCESSES != own;
            let (in_time, mut guard) = changed.wait_timeout_while(guard, PATIENCE, is_not_mine).unwrap();
            assert!(in_time, "process {own} waited too long");
            *guard += 1;
            drop(guard);
            changed.notify_all();
        }
    });
    let message: Message = (Condition::new().unwrap(), Value::new(0).unwrap());
    for _ in &children {
        sender.send(&message).unwrap();
    }
    children.iter().for_each(succeeded);
    assert_eq!(message.1.get(), Ok(PROCESSES * ROUNDS));
}

fn a_lock_that_travelled_outlives_its_holder() {
    type Message = (Lock, Event);
    let (sender, receiver) = pipe::<Message>().unwrap();
    let holders = crew(1, &receiver, |_, (lock, has_it)| {
        let _guard = lock.lock().unwrap();
        has_it.set();
        hang();
    });
    let message: Message = (Lock::new().unwrap(), Event::new().unwrap());
    sender.send(&message).unwrap();
    assert!(message.1.wait_timeout(PATIENCE));
    let waiters = crew(2, &receiver, |_, (lock, _)| match lock.lock_timeout(PATIENCE) {
        // Both learn of it, one after the other, because neither clears the poison.
        Err(LockError::Poisoned(guard)) => drop(guard),
        other => panic!("{other:?}"),
    });
    for _ in &waiters {
        sender.send(&message).unwrap();
    }
    kill(&holders[0]);
    waiters.iter().for_each(succeeded);
    let (lock, _) = message;
    assert!(lock.is_poisoned());
    lock.clear_poison();
    assert!(lock.lock().is_ok());
}

fn a_value_that_a_child_made_outlives_it() {
    let (sender, receiver) = pipe::<(Value<[u64; 2]>, Event)>().unwrap();
    let child = spawn(|| {
        let own = (Value::new([1, 1]).unwrap(), Event::new().unwrap());
        sender.send(&own).unwrap();
        let mut guard = own.0.lock().unwrap();
        guard[0] = 2;
        own.1.set();
        hang();
    });
    let (value, has_it) = receiver.recv_timeout(PATIENCE).unwrap();
    assert!(has_it.wait_timeout(PATIENCE));
    kill(&child);
    let Err(LockError::Poisoned(guard)) = value.lock_timeout(PATIENCE) else {
        panic!("the poison was not reported")
    };
    assert_eq!(*guard, [2, 1], "the value as far as it was changed");
    value.clear_poison();
    drop(guard);
    assert_eq!(value.replace([3, 3]), Ok([2, 1]));
}

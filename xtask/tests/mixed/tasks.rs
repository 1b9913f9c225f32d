//! Tasks of a `JoinableQueue` that name objects in shared memory.
//!
//! A queue's items carry no handles. So the objects travel once, in a message, and a task names one by its index. A
//! task that is delivered again finds what the earlier delivery left, and results are committed under the task's
//! number, so a second delivery changes nothing.

use mp::{Array, Event, GetError, JoinableQueue, PutError, Queue, RawArray, RawValue, Value, pipe};
use mp_sys::child::ChildProcess;
use mp_sys::testing::{PATIENCE, Random, hang, kill, spawn, succeeded, tests};
use serde::{Deserialize, Serialize};

tests! {
    tasks_name_arrays_by_their_index,
    join_ends_when_another_worker_takes_over,
    results_are_exact_whichever_worker_is_killed,
    a_handle_is_refused_as_an_item,
}

const ARRAYS: usize = 12;
const LEN: usize = 5000;

/// What each worker receives once.
#[derive(Debug, Serialize, Deserialize)]
struct Shop {
    arrays: Vec<Array<u64>>,
    tasks: JoinableQueue<usize>,
}

impl Shop {
    /// Makes arrays that count down, to be sorted.
    fn new() -> Self {
        let numbers: Vec<u64> = (0..LEN as u64).rev().collect();
        let arrays = (0..ARRAYS).map(|_| Array::from_slice(&numbers).unwrap()).collect();
        let shop = Self { arrays, tasks: JoinableQueue::new().unwrap() };
        shop.tasks.put_many(&(0..ARRAYS).collect::<Vec<_>>()).unwrap();
        shop
    }

    fn work(&self) {
        loop {
            match self.tasks.get_timeout(PATIENCE) {
                Ok(task) => {
                    // Sorting a sorted array changes nothing.
                    self.arrays[*task].lock_timeout(PATIENCE).unwrap().sort_unstable();
                    task.done();
                }
                Err(GetError::Closed) => return,
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    fn assert_sorted(&self) {
        for array in &self.arrays {
            assert!(array.to_vec().unwrap().into_iter().eq(0..LEN as u64));
        }
    }
}

fn tasks_name_arrays_by_their_index() {
    let (sender, receiver) = pipe::<Shop>().unwrap();
    let work = || receiver.recv_timeout(PATIENCE).unwrap().work();
    let workers: Vec<ChildProcess> = (0..3).map(|_| spawn(work)).collect();
    let shop = Shop::new();
    workers.iter().for_each(|_| sender.send(&shop).unwrap());
    assert!(shop.tasks.join_timeout(PATIENCE).unwrap());
    shop.assert_sorted();
    shop.tasks.close().unwrap();
    workers.iter().for_each(succeeded);
}

fn join_ends_when_another_worker_takes_over() {
    let (sender, receiver) = pipe::<(Shop, Event)>().unwrap();
    let first = spawn(|| {
        let (shop, has_tasks) = receiver.recv_timeout(PATIENCE).unwrap();
        let _tasks: Vec<_> = (0..3).map(|_| shop.tasks.get_timeout(PATIENCE).unwrap()).collect();
        has_tasks.set();
        hang();
    });
    let message = (Shop::new(), Event::new().unwrap());
    sender.send(&message).unwrap();
    assert!(message.1.wait_timeout(PATIENCE));
    let second = spawn(|| receiver.recv_timeout(PATIENCE).unwrap().0.work());
    sender.send(&message).unwrap();
    let shop = message.0;
    let joiner = spawn(|| assert!(shop.tasks.join_timeout(PATIENCE).unwrap()));
    kill(&first);
    succeeded(&joiner);
    shop.assert_sorted();
    assert_eq!(shop.tasks.failed(), Ok(vec![]));
    shop.tasks.close().unwrap();
    succeeded(&second);
}

/// Where results go: one word shows whether a task has a result, and it changes in one step.
#[derive(Debug, Serialize, Deserialize)]
struct Board {
    tasks: JoinableQueue<usize>,
    is_done: RawArray<u64>,
    results: RawArray<u64>,
    /// The number of committed results.
    commits: RawValue<u64>,
    started: Value<u64>,
}

fn results_are_exact_whichever_worker_is_killed() {
    const TASKS: usize = 3000;
    const KILLS: u32 = 30;
    let (sender, receiver) = pipe::<Board>().unwrap();
    let start = || {
        spawn(|| {
            let board = receiver.recv_timeout(PATIENCE).unwrap();
            while let Ok(task) = board.tasks.get_timeout(PATIENCE) {
                board.started.update(|n| n + 1).unwrap();
                board.results.set(*task, *task as u64 * 3).unwrap();
                if board.is_done.compare_exchange(*task, 0, 1).unwrap().is_ok() {
                    board.commits.fetch_add(1);
                }
                task.done();
            }
        })
    };
    let board = Board {
        tasks: JoinableQueue::new().unwrap(),
        is_done: RawArray::zeroed(TASKS).unwrap(),
        results: RawArray::zeroed(TASKS).unwrap(),
        commits: RawValue::new(0).unwrap(),
        started: Value::new(0).unwrap(),
    };
    let mut random = Random::new();
    let mut workers = [start(), start()];
    workers.iter().for_each(|_| sender.send(&board).unwrap());
    for n in 0..KILLS {
        let share = TASKS / KILLS as usize;
        let first = n as usize * share;
        board.tasks.put_many(&(first..first + share).collect::<Vec<_>>()).unwrap();
        random.pause(300_000);
        let victim = usize::try_from(random.below(2)).unwrap();
        kill(&workers[victim]);
        workers[victim] = start();
        sender.send(&board).unwrap();
    }
    assert!(board.tasks.join_timeout(PATIENCE).unwrap());
    board.tasks.close().unwrap();
    workers.iter().for_each(succeeded);
    assert!(board.results.to_vec().into_iter().eq((0..TASKS as u64).map(|task| task * 3)));
    assert_eq!(board.is_done.to_vec(), vec![1; TASKS]);
    // A worker may be killed between its commit and its count.
    let commits = board.commits.load();
    assert!((TASKS as u64 - u64::from(KILLS)..=TASKS as u64).contains(&commits), "{commits}");
    assert_eq!(board.tasks.failed(), Ok(vec![]), "seed {}", random.seed());
}

fn a_handle_is_refused_as_an_item() {
    let value = Value::new(1_u64).unwrap();
    let queue = Queue::<Value<u64>>::new().unwrap();
    let tasks = JoinableQueue::<Value<u64>>::new().unwrap();
    for refused in [queue.put(&value), tasks.put(&value)] {
        let Err(PutError::Encode(reason)) = refused else { panic!("{refused:?}") };
        assert!(reason.contains("pipe"), "the error names what can carry it: {reason}");
    }
    assert_eq!((queue.len(), tasks.unfinished()), (0, Ok(0)));
}

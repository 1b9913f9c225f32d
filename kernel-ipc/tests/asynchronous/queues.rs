//! Queues between processes, with tasks on one side or on both.

use std::sync::Arc;
use std::time::Duration;

use kernel_ipc::{GetError, PutError, Queue, SimpleQueue};
use mp_sys::testing::{PATIENCE, spawn, succeeded, tests};
use tokio::task::JoinSet;

use crate::dropped::{POLLS_MAX, dropped_after, in_each_runtime, one_thread, several_threads};

tests! {
    items_are_put_and_got,
    a_full_queue_wakes_tasks_without_their_timers,
    dropped_consumers_lose_no_item,
    dropped_producers_put_nothing,
    closing_wakes_all_tasks,
    blocking_calls_and_tasks_share_a_queue,
    a_queue_that_tasks_have_waited_for_can_be_polled,
}

const TASKS: usize = 8;
const ITEMS: u32 = 4000;
/// If each of so many items waited for a timer, this would take longer than a test may.
const FULL_ITEMS: u32 = 20_000;

fn items_are_put_and_got() {
    in_each_runtime(|| async {
        let queue = Queue::<String>::bounded(2).unwrap();
        for length in [0, 1, 255, 256, 5000, 300_000] {
            let text = "x".repeat(length);
            let (got, put) = tokio::join!(queue.get_async(), queue.put_async(text.as_str()));
            assert_eq!((got, put), (Ok(text), Ok(())));
        }
        let (batch, ()) = tokio::join!(queue.get_many_async(10), async {
            queue.put_async("one").await.unwrap();
        });
        assert_eq!(batch.unwrap().map(Result::unwrap).collect::<Vec<_>>(), ["one"]);
        assert_eq!(queue.get_many_async(0).await.unwrap().count(), 0);
        let simple = SimpleQueue::<u8>::new().unwrap();
        let (got, put) = tokio::join!(simple.get_async(), simple.put_async(&7));
        assert_eq!((got, put), (Ok(7), Ok(())));
    });
}

fn a_full_queue_wakes_tasks_without_their_timers() {
    for (runtime, consumer_is_a_task) in [
        (one_thread as fn() -> _, true),
        (one_thread, false),
        (several_threads, true),
        (several_threads, false),
    ] {
        let queue = Queue::<u32>::bounded(1).unwrap();
        let consumer = spawn(|| {
            if consumer_is_a_task {
                let tasks = async {
                    for number in 0..FULL_ITEMS {
                        assert_eq!(queue.get_async().await, Ok(number));
                    }
                };
                return runtime().block_on(tasks);
            }
            for number in 0..FULL_ITEMS {
                assert_eq!(queue.get(), Ok(number));
            }
        });
        let all_are_put = async {
            for number in 0..FULL_ITEMS {
                queue.put_async(&number).await.unwrap();
            }
        };
        runtime()
            .block_on(async { tokio::time::timeout(PATIENCE, all_are_put).await })
            .expect("no wait for a timer");
        succeeded(&consumer);
    }
}

/// Gets until the queue is closed, and drops each future after another number of polls.
async fn consume(queue: Queue<u32>, first: usize) -> Vec<u32> {
    let mut got = Vec::new();
    for round in first.. {
        match dropped_after(round % POLLS_MAX, queue.get_async()).await {
            None => tokio::task::yield_now().await,
            Some(Err(GetError::Closed)) => break,
            Some(item) => got.push(item.unwrap()),
        }
    }
    got
}

fn dropped_consumers_lose_no_item() {
    for (runtime, is_bounded) in [
        (one_thread as fn() -> _, false),
        (one_thread, true),
        (several_threads, false),
        (several_threads, true),
    ] {
        let queue = if is_bounded { Queue::bounded(4) } else { Queue::new() }.unwrap();
        let producer = spawn(|| {
            (0..ITEMS).for_each(|number| queue.put(&number).unwrap());
            queue.close().unwrap();
        });
        let got = runtime().block_on(async {
            let tasks: JoinSet<_> = (0..TASKS).map(|task| consume(queue.clone(), task)).collect();
            tasks.join_all().await
        });
        succeeded(&producer);
        let mut got: Vec<u32> = got.into_iter().flatten().collect();
        got.sort_unstable();
        assert!(got.into_iter().eq(0..ITEMS), "each item is got once");
    }
}

/// Puts the numbers of one task, in order, and drops each future after another number of polls.
async fn produce(queue: Queue<(usize, u32)>, task: usize) {
    let (mut number, mut round) = (0, task);
    while number < ITEMS {
        match dropped_after(round % POLLS_MAX, queue.put_async(&(task, number))).await {
            None => tokio::task::yield_now().await,
            Some(put) => {
                put.unwrap();
                number += 1;
            }
        }
        round += 1;
    }
}

fn dropped_producers_put_nothing() {
    for runtime in [one_thread, several_threads] {
        let queue = Queue::<(usize, u32)>::bounded(4).unwrap();
        let consumer = spawn(|| {
            let mut next = [0; TASKS];
            for item in &queue {
                let (task, number) = item.unwrap();
                assert_eq!(number, next[task], "put once, and in order");
                next[task] += 1;
            }
            assert_eq!(next, [ITEMS; TASKS]);
        });
        runtime().block_on(async {
            let tasks: JoinSet<_> = (0..TASKS).map(|task| produce(queue.clone(), task)).collect();
            tasks.join_all().await;
        });
        queue.close().unwrap();
        succeeded(&consumer);
    }
}

fn closing_wakes_all_tasks() {
    in_each_runtime(|| async {
        let (empty, full) = (Queue::<u32>::new().unwrap(), Queue::bounded(1).unwrap());
        full.put(&0).unwrap();
        let (empty, full) = (Arc::new(empty), Arc::new(full));
        let mut waiters = JoinSet::new();
        for _ in 0..TASKS {
            let (empty, full) = (Arc::clone(&empty), Arc::clone(&full));
            waiters.spawn(async move { (empty.get_async().await, full.put_async(&1).await) });
        }
        tokio::task::yield_now().await;
        empty.close().unwrap();
        tokio::task::yield_now().await;
        full.close().unwrap();
        for outcome in waiters.join_all().await {
            assert_eq!(outcome, (Err(GetError::Closed), Err(PutError::Closed)));
        }
    });
}

fn blocking_calls_and_tasks_share_a_queue() {
    let (queue, results) = (Queue::<u32>::bounded(8).unwrap(), Queue::<Vec<u32>>::new().unwrap());
    let in_task = |body: &dyn Fn(Queue<u32>) -> Vec<u32>| results.put(&body(queue.clone())).unwrap();
    let consumers = [
        spawn(|| in_task(&|queue| queue.iter().map(Result::unwrap).collect())),
        spawn(|| in_task(&|queue| one_thread().block_on(consume(queue, 0)))),
        spawn(|| in_task(&|queue| several_threads().block_on(consume(queue, 1)))),
    ];
    let producer = spawn(|| (0..ITEMS).for_each(|number| queue.put(&number).unwrap()));
    one_thread().block_on(async {
        for number in ITEMS..2 * ITEMS {
            queue.put_async(&number).await.unwrap();
        }
    });
    succeeded(&producer);
    queue.close().unwrap();
    consumers.iter().for_each(succeeded);
    let mut got: Vec<u32> = (0..3).flat_map(|_| results.get().unwrap()).collect();
    got.sort_unstable();
    assert!(got.into_iter().eq(0..2 * ITEMS));
}

fn a_queue_that_tasks_have_waited_for_can_be_polled() {
    in_each_runtime(|| async {
        let queue = Queue::<u32>::new().unwrap();
        let is_readable = || kernel_ipc::wait(&[&queue], Duration::ZERO).unwrap() == [0];
        // The first time, the descriptor is readable for tasks only, and stays so until somebody waits again.
        for _ in 0..2 {
            let (got, put) = tokio::join!(queue.get_async(), queue.put_async(&1));
            assert_eq!((got, put), (Ok(1), Ok(())));
            assert!(!is_readable(), "the queue is empty");
            queue.put(&2).unwrap();
            assert!(is_readable());
            assert_eq!(queue.get_async().await, Ok(2));
            assert!(!is_readable());
        }
    });
}

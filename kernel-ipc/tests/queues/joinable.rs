//! Queues of tasks.

use std::time::Duration;

use kernel_ipc::{CreateError, GetError, JoinableQueue, MAX_DELIVERIES_DEFAULT, PutError, Queue, pipe};
use mp_sys::testing::{PATIENCE, assert_woken, hang, kill, spawn, succeeded, tests};

tests! {
    tasks_are_done_once,
    a_dropped_task_returns_to_the_queue,
    returned_tasks_come_first_and_oldest_first,
    a_task_that_fails_too_often_is_put_aside,
    a_task_that_cannot_be_decoded_is_put_aside,
    join_waits_for_all,
    tasks_of_dead_workers_go_to_others,
    try_get_finds_tasks_of_dead_workers,
    a_frozen_worker_keeps_its_task,
    join_ends_when_another_worker_takes_over,
    a_slow_task_does_not_keep_memory,
    a_closed_queue_waits_for_tasks_that_may_return,
    the_holder_of_the_only_tasks_sees_that_the_queue_is_closed,
    a_thread_that_hands_tasks_to_others_waits_for_returned_tasks,
    an_inherited_task_belongs_to_the_parent,
    tasks_travel,
    tasks_of_all_sizes,
    the_limit_of_tasks,
    a_new_task_is_seen_before_the_old_one_is_done,
    workers_are_killed_and_nothing_is_lost,
}

fn queue_of(count: u32) -> JoinableQueue<u32> {
    let queue = JoinableQueue::new().unwrap();
    queue.put_many(&(0..count).collect::<Vec<_>>()).unwrap();
    queue
}

fn tasks_are_done_once() {
    let queue = queue_of(3);
    for n in 0..3 {
        assert_eq!(queue.unfinished(), Ok(3 - usize::try_from(n).unwrap()));
        let task = queue.get().unwrap();
        assert_eq!((*task, task.deliveries()), (n, 1));
        assert_eq!(task.done(), n);
    }
    assert_eq!(queue.try_get().unwrap_err(), GetError::Empty);
    assert_eq!(queue.get_timeout(Duration::from_millis(50)).unwrap_err(), GetError::TimedOut);
    queue.join().unwrap();
    assert_eq!(queue.failed().unwrap(), []);
}

fn a_dropped_task_returns_to_the_queue() {
    let queue = queue_of(1);
    for deliveries in 1..4 {
        let task = queue.get().unwrap();
        assert_eq!(task.deliveries(), deliveries);
        assert_eq!((queue.len(), queue.unfinished()), (0, Ok(1)));
        if deliveries % 2 == 0 { task.requeue() } else { drop(task) }
    }
    assert_eq!(queue.join_timeout(Duration::from_millis(50)), Ok(false));
    queue.get().unwrap().done();
    queue.join().unwrap();
}

fn returned_tasks_come_first_and_oldest_first() {
    let queue = queue_of(4);
    let tasks: Vec<_> = (0..3).map(|_| queue.get().unwrap()).collect();
    // Returned in another order.
    let mut tasks = tasks.into_iter();
    let (first, second, third) = (tasks.next(), tasks.next(), tasks.next());
    drop((third, first, second));
    let order: Vec<u32> = (0..4).map(|_| queue.get().unwrap().done()).collect();
    assert_eq!(order, [0, 1, 2, 3]);
}

fn a_task_that_fails_too_often_is_put_aside() {
    let queue = queue_of(1);
    assert_eq!(queue.max_deliveries(), MAX_DELIVERIES_DEFAULT);
    queue.set_max_deliveries(2).unwrap();
    drop(queue.get().unwrap());
    assert_eq!(queue.failed().unwrap(), []);
    drop(queue.get().unwrap());
    assert_eq!(queue.try_get().unwrap_err(), GetError::Empty);
    queue.join().unwrap();
    let failed = queue.failed().unwrap();
    assert_eq!((failed.len(), failed[0].deliveries, failed[0].decode()), (1, 2, Ok(0_u32)));
    assert_eq!(queue.take_failed().unwrap(), failed);
    assert_eq!(queue.take_failed().unwrap(), []);
}

/// Two types that have the same name in two programs.
mod here {
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    pub(super) struct Item(pub(super) u8);
}

mod there {
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    pub(super) struct Item(pub(super) bool);
}

/// Sends a value as one program and receives it as the other.
#[derive(Debug)]
struct Both(JoinableQueue<here::Item>, Option<JoinableQueue<there::Item>>);

impl serde::Serialize for Both {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Both {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let there = JoinableQueue::deserialize(deserializer)?;
        Ok(Self(JoinableQueue::new().map_err(serde::de::Error::custom)?, Some(there)))
    }
}

fn a_task_that_cannot_be_decoded_is_put_aside() {
    let queue = JoinableQueue::<here::Item>::new().unwrap();
    let (sender, receiver) = pipe::<Both>().unwrap();
    sender.send(&Both(queue.clone(), None)).unwrap();
    let there = receiver.recv().unwrap().1.unwrap();
    queue.put_many(&[here::Item(7), here::Item(1)]).unwrap();
    let error = there.get().unwrap_err();
    assert!(matches!(error, GetError::Decode { ref bytes, .. } if *bytes == [7]), "{error:?}");
    assert!(there.get().unwrap().done().0);
    there.join().unwrap();
    let failed = queue.failed().unwrap();
    assert_eq!((failed.len(), failed[0].decode::<here::Item>().unwrap().0), (1, 7));
}

fn join_waits_for_all() {
    let queue = JoinableQueue::<u32>::new().unwrap();
    let workers: Vec<_> = (0..4)
        .map(|_| {
            spawn(|| {
                while let Ok(task) = queue.get() {
                    std::hint::black_box(*task);
                    task.done();
                }
                assert_woken();
            })
        })
        .collect();
    for round in 0..20 {
        queue.put_many(&vec![round; 500]).unwrap();
        assert!(queue.join_timeout(PATIENCE).unwrap());
        assert_eq!(queue.unfinished(), Ok(0));
    }
    queue.close().unwrap();
    workers.iter().for_each(succeeded);
    assert_woken();
    assert_eq!(queue.put(&0), Err(PutError::Closed));
}

/// Starts a child that takes `count` tasks, reports that, and keeps them.
fn keeper(queue: &JoinableQueue<u32>, count: u32) -> mp_sys::child::ChildProcess {
    let has = Queue::new().unwrap();
    let child = spawn(|| {
        let _tasks: Vec<_> = (0..count).map(|_| queue.get().unwrap()).collect();
        has.put(&()).unwrap();
        hang();
    });
    has.get_timeout(PATIENCE).unwrap();
    child
}

fn tasks_of_dead_workers_go_to_others() {
    let queue = queue_of(5);
    let child = keeper(&queue, 3);
    let waiter = spawn(|| {
        let tasks: Vec<_> = (0..5).map(|_| queue.get_timeout(PATIENCE).unwrap()).collect();
        let deliveries = |task: &kernel_ipc::Task<u32>| task.deliveries();
        assert_eq!(tasks.iter().map(deliveries).sum::<u32>(), 8);
        tasks.into_iter().for_each(|task| {
            task.done();
        });
    });
    kill(&child);
    assert!(queue.join_timeout(PATIENCE).unwrap());
    succeeded(&waiter);
}

fn try_get_finds_tasks_of_dead_workers() {
    let queue = queue_of(1);
    kill(&keeper(&queue, 1));
    mp_sys::testing::eventually("the task comes back", || match queue.try_get() {
        Ok(task) => task.done() == 0,
        Err(error) => {
            assert_eq!(error, GetError::Empty);
            false
        }
    });
    assert!(queue.join_timeout(Duration::ZERO).unwrap());
}

fn a_frozen_worker_keeps_its_task() {
    let queue = queue_of(1);
    let child = keeper(&queue, 1);
    child.signal(rustix::process::Signal::STOP.as_raw()).unwrap();
    assert_eq!(queue.get_timeout(Duration::from_millis(150)).unwrap_err(), GetError::TimedOut);
    assert_eq!(queue.unfinished(), Ok(1));
    kill(&child);
    assert_eq!(queue.get_timeout(PATIENCE).unwrap().done(), 0);
}

fn join_ends_when_another_worker_takes_over() {
    let queue = queue_of(1);
    let first = keeper(&queue, 1);
    let second = spawn(|| {
        queue.get_timeout(PATIENCE).unwrap().done();
    });
    let joiner = spawn(|| assert!(queue.join_timeout(PATIENCE).unwrap()));
    kill(&first);
    succeeded(&joiner);
    succeeded(&second);
}

fn a_slow_task_does_not_keep_memory() {
    let queue = JoinableQueue::<Vec<u8>>::new().unwrap();
    let before = mp_sys::budget::mapped();
    let task = vec![1; 100_000];
    queue.put(&task).unwrap();
    let slow = queue.get().unwrap();
    for _ in 0..300 {
        queue.put(&task).unwrap();
        queue.get().unwrap().done();
    }
    assert!(mp_sys::budget::mapped() - before < 8 << 20);
    assert_eq!(slow.done(), task);
    queue.join().unwrap();
}

fn a_closed_queue_waits_for_tasks_that_may_return() {
    let queue = queue_of(2);
    let child = keeper(&queue, 1);
    let worker = spawn(|| {
        assert_eq!(queue.get_timeout(PATIENCE).unwrap().done(), 1);
        let task = queue.get_timeout(PATIENCE).unwrap();
        assert_eq!((*task, task.deliveries()), (0, 2));
        task.done();
        assert_eq!(queue.get_timeout(PATIENCE).unwrap_err(), GetError::Closed);
    });
    queue.close().unwrap();
    mp_sys::testing::eventually("the other task is done", || queue.unfinished() == Ok(1));
    kill(&child);
    succeeded(&worker);
}

fn the_holder_of_the_only_tasks_sees_that_the_queue_is_closed() {
    let queue = queue_of(2);
    queue.close().unwrap();
    let task = queue.get().unwrap();
    let other = queue.get().unwrap();
    assert_eq!(queue.get().unwrap_err(), GetError::Closed);
    assert_eq!(queue.try_get().unwrap_err(), GetError::Closed);
    drop(task);
    assert_eq!(queue.get().unwrap().done(), 0);
    other.done();
    queue.join().unwrap();
}

/// One thread gets all tasks, and hands each of them to a new thread.
fn a_thread_that_hands_tasks_to_others_waits_for_returned_tasks() {
    let queue = queue_of(1);
    queue.close().unwrap();
    std::thread::scope(|scope| {
        let (queue, first) = (&queue, queue.get().unwrap());
        scope.spawn(move || {
            assert_eq!(queue.try_get().unwrap_err(), GetError::Empty, "a thread has a task");
            drop(first);
        });
        let again = queue.get_timeout(PATIENCE).unwrap();
        assert_eq!((*again, again.deliveries()), (0, 2), "the task was returned");
        // Another thread finishes the task, so no task can return any more.
        scope.spawn(move || again.done());
        assert_eq!(queue.get_timeout(PATIENCE).unwrap_err(), GetError::Closed);
    });
    assert!(queue.join_timeout(PATIENCE).unwrap());
}

fn an_inherited_task_belongs_to_the_parent() {
    let queue = queue_of(1);
    let task = queue.get().unwrap();
    let child = spawn(|| {
        // The task is moved into the child and dropped there.
        let inherited = &task;
        assert_eq!(**inherited, 0);
        assert_eq!(queue.unfinished(), Ok(1));
    });
    succeeded(&child);
    assert_eq!(queue.unfinished(), Ok(1));
    assert_eq!(task.done(), 0);
    queue.join().unwrap();
}

fn tasks_travel() {
    let (sender, receiver) = pipe::<JoinableQueue<u32>>().unwrap();
    let child = spawn(|| {
        let queue = receiver.recv().unwrap();
        while let Ok(task) = queue.get() {
            task.done();
        }
    });
    let queue = JoinableQueue::bounded(2).unwrap();
    sender.send(&queue).unwrap();
    for n in 0..100 {
        queue.put_timeout(&n, PATIENCE).unwrap();
    }
    assert!(queue.join_timeout(PATIENCE).unwrap());
    queue.close().unwrap();
    succeeded(&child);
    assert_eq!(JoinableQueue::<u32>::bounded(0).unwrap_err(), CreateError::NoCapacity);
}

fn tasks_of_all_sizes() {
    let queue = JoinableQueue::new().unwrap();
    let sizes = [0, 1, 62, 63, 64, 65, 4_095, 4_096, 5_000, 100_000, 3 << 20];
    for round in 0..3_u8 {
        let tasks: Vec<Vec<u8>> = sizes.iter().map(|size| vec![round; *size]).collect();
        queue.put_many(&tasks).unwrap();
        let got: Vec<_> = sizes.iter().map(|_| queue.get().unwrap()).collect();
        for (got, expected) in got.into_iter().zip(&tasks) {
            assert_eq!(got.done(), *expected);
        }
    }
    queue.join().unwrap();
}

fn the_limit_of_tasks() {
    let limit = kernel_ipc::limits::TASKS_MAX;
    let queue = JoinableQueue::<()>::new().unwrap();
    for _ in 0..=limit {
        queue.put(&()).unwrap();
    }
    let mut tasks: Vec<_> = (0..limit).map(|_| queue.get().unwrap()).collect();
    assert_eq!(queue.get().unwrap_err(), GetError::TooManyTasks);
    assert_eq!(queue.unfinished(), Ok(limit + 1));
    tasks.pop().unwrap().done();
    tasks.push(queue.get().unwrap());
    tasks.into_iter().for_each(kernel_ipc::Task::done);
    queue.join().unwrap();
}

fn a_new_task_is_seen_before_the_old_one_is_done() {
    // Each task except the last puts the next one before it is done. `join` must not end in between.
    const LAST: u32 = 20_000;
    let queue = JoinableQueue::new().unwrap();
    queue.put(&0).unwrap();
    let workers: Vec<_> = (0..2)
        .map(|_| {
            spawn(|| {
                while let Ok(task) = queue.get() {
                    if *task < LAST {
                        queue.put(&(*task + 1)).unwrap();
                    } else {
                        queue.close().unwrap();
                    }
                    task.done();
                }
            })
        })
        .collect();
    assert!(queue.join_timeout(PATIENCE).unwrap());
    assert!(queue.is_closed(), "join ended too early");
    workers.iter().for_each(succeeded);
}

fn workers_are_killed_and_nothing_is_lost() {
    const TASKS: u32 = 2_000;
    let queue = queue_of(TASKS);
    queue.set_max_deliveries(u32::MAX).unwrap();
    let done = Queue::new().unwrap();
    let worker = || {
        spawn(|| {
            while let Ok(task) = queue.get() {
                done.put(&*task).unwrap();
                task.done();
            }
        })
    };
    let mut workers: Vec<_> = (0..3).map(|_| worker()).collect();
    for round in 0..30 {
        let victim = round % workers.len();
        mp_sys::testing::eventually("a worker makes progress", || done.len() > round * 20);
        kill(&workers[victim]);
        workers[victim] = worker();
    }
    assert!(queue.join_timeout(PATIENCE).unwrap());
    queue.close().unwrap();
    workers.iter().for_each(succeeded);
    let mut times = vec![0_u32; usize::try_from(TASKS).unwrap()];
    while let Ok(task) = done.try_get() {
        times[usize::try_from(task).unwrap()] += 1;
    }
    assert!(times.iter().all(|&times| times >= 1), "a task was lost");
    let repeated: u32 = times.iter().map(|times| times - 1).sum();
    assert!(repeated <= 30, "each death repeats at most one task: {repeated}");
}

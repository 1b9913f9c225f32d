//! Tasks of a joinable queue, in tasks of a runtime.

use std::time::Duration;

use kernel_ipc::{GetError, JoinableQueue, Queue, pipe};
use mp_sys::testing::{PATIENCE, hang, kill, spawn, succeeded, tests};
use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::dropped::{POLLS_MAX, dropped_after, in_each_runtime, one_thread, several_threads};

tests! {
    dropped_workers_lose_no_task,
    the_task_of_a_killed_process_goes_to_a_waiting_task,
    a_closed_queue_ends_when_no_task_can_return,
    a_stopped_holder_of_a_lock_stops_no_runtime,
}

const WORKERS: usize = 8;
const TASKS: u32 = 2000;

/// Works until the queue is closed. Drops futures after another number of polls each time, and also some of the tasks.
async fn work(queue: JoinableQueue<u32>, first: usize) -> Vec<u32> {
    let mut done = Vec::new();
    for round in first.. {
        match dropped_after(round % POLLS_MAX, queue.get_async()).await {
            None => tokio::task::yield_now().await,
            Some(Err(GetError::Closed)) => break,
            Some(task) => {
                let task = task.unwrap();
                tokio::task::yield_now().await;
                if round % 7 == 0 && task.deliveries() == 1 {
                    drop(task);
                } else {
                    done.push(task.done());
                }
            }
        }
    }
    done
}

fn dropped_workers_lose_no_task() {
    for runtime in [one_thread, several_threads] {
        let queue = JoinableQueue::<u32>::bounded(16).unwrap();
        let producer = spawn(|| {
            let all_are_done = async {
                for number in 0..TASKS {
                    queue.put_async(&number).await.unwrap();
                }
                queue.join_async().await.unwrap();
            };
            one_thread().block_on(all_are_done);
            assert_eq!(queue.unfinished(), Ok(0));
            queue.close().unwrap();
        });
        let done = runtime().block_on(async {
            let workers: JoinSet<_> = (0..WORKERS).map(|worker| work(queue.clone(), worker)).collect();
            workers.join_all().await
        });
        succeeded(&producer);
        let mut done: Vec<u32> = done.into_iter().flatten().collect();
        done.sort_unstable();
        assert!(done.into_iter().eq(0..TASKS), "each task is done once");
        assert_eq!(queue.failed(), Ok(Vec::new()));
    }
}

fn the_task_of_a_killed_process_goes_to_a_waiting_task() {
    for runtime in [one_thread, several_threads] {
        let queue = JoinableQueue::<u32>::new().unwrap();
        queue.put(&7).unwrap();
        let (tell, told) = pipe::<()>().unwrap();
        let worker = spawn(|| {
            let _task = queue.get().unwrap();
            tell.send(&()).unwrap();
            hang();
        });
        told.recv_timeout(PATIENCE).unwrap();
        runtime().block_on(async {
            let finish = async {
                let task = queue.get_async().await.unwrap();
                assert_eq!((*task, task.deliveries()), (7, 2));
                task.done();
            };
            let (joined, (), ()) = tokio::join!(queue.join_async(), finish, async { kill(&worker) });
            assert_eq!(joined, Ok(()));
        });
    }
}

fn a_closed_queue_ends_when_no_task_can_return() {
    in_each_runtime(|| async {
        for is_done in [true, false] {
            let queue = JoinableQueue::<u32>::new().unwrap();
            queue.put(&7).unwrap();
            let task = queue.get_async().await.unwrap();
            queue.close().unwrap();
            let waiting = queue.clone();
            let waiting = tokio::spawn(async move { waiting.get_async().await.map(kernel_ipc::Task::done) });
            tokio::task::yield_now().await;
            if is_done {
                task.done();
                assert_eq!(waiting.await.unwrap(), Err(GetError::Closed));
            } else {
                drop(task);
                assert_eq!(waiting.await.unwrap(), Ok(7));
            }
            assert_eq!(queue.get_async().await.unwrap_err(), GetError::Closed);
        }
    });
}

/// The child makes long copies under the locks, so it is stopped there sooner or later.
fn a_stopped_holder_of_a_lock_stops_no_runtime() {
    let queue = Queue::<Vec<u8>>::bounded(4).unwrap();
    let item = vec![1; 1 << 20];
    let holder = spawn(|| {
        loop {
            queue.put(&item).unwrap();
            queue.get().unwrap();
        }
    });
    in_each_runtime(|| async {
        for _ in 0..10 {
            holder.signal(Signal::STOP.as_raw()).unwrap();
            // Any answer is fine, as long as the timer runs.
            let moment = Duration::from_millis(5);
            let _got = tokio::time::timeout(moment, queue.get_async()).await;
            let _put = tokio::time::timeout(moment, queue.put_async(&Vec::new())).await;
            holder.signal(Signal::CONT.as_raw()).unwrap();
        }
    });
    kill(&holder);
    one_thread().block_on(async {
        let _whichever = tokio::time::timeout(Duration::ZERO, queue.get_async()).await;
        tokio::time::timeout(PATIENCE, queue.put_async(&Vec::new())).await.unwrap().unwrap();
    });
}

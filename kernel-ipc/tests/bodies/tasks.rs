//! Queues of tasks: each task is done once, and `join` shows what was written before it was done.

use kernel_ipc::JoinableQueue;
use mp_sys::testing::plain::Plain;
use mp_sys::testing::spawner::Spawner;
use mp_sys::testing::{PATIENCE, bodies};

bodies! {
    join_shows_what_was_written_before_done,
    tasks_that_are_given_back_are_done_in_the_end,
}

const WORKERS: usize = 4;

fn join_shows_what_was_written_before_done<S: Spawner>() {
    const ROUNDS: u64 = 10;
    const TASKS: u64 = 200;
    let queue = JoinableQueue::<u64>::new().unwrap();
    let words: [Plain; WORKERS] = Default::default();
    let sum = || words.iter().map(Plain::get).sum::<u64>();
    S::all(WORKERS + 1, |worker| {
        let Some(own) = words.get(worker) else {
            let tasks: Vec<u64> = (1..=TASKS).collect();
            for round in 1..=ROUNDS {
                queue.put_many(&tasks).unwrap();
                assert!(queue.join_timeout(PATIENCE).unwrap());
                assert_eq!(queue.unfinished(), Ok(0));
                assert_eq!(sum(), round * TASKS * (TASKS + 1) / 2);
            }
            queue.close().unwrap();
            return;
        };
        while let Ok(task) = queue.get_timeout(PATIENCE) {
            own.add(*task);
            task.done();
        }
    });
    assert_eq!(queue.failed(), Ok(Vec::new()));
}

/// A worker writes before it returns a task. The next worker that gets the task sees what was written.
fn tasks_that_are_given_back_are_done_in_the_end<S: Spawner>() {
    const TASKS: usize = 100;
    const TRIES: u32 = 3;
    let queue = JoinableQueue::<usize>::bounded(10).unwrap();
    let tries: Vec<Plain> = (0..TASKS).map(|_| Plain::new()).collect();
    S::all(WORKERS + 1, |worker| {
        if worker == WORKERS {
            (0..TASKS).for_each(|number| queue.put_timeout(&number, PATIENCE).unwrap());
            assert!(queue.join_timeout(PATIENCE).unwrap());
            assert!(tries.iter().all(|tries| tries.get() == u64::from(TRIES)));
            queue.close().unwrap();
        }
        while let Ok(task) = queue.get_timeout(PATIENCE) {
            tries[*task].add(1);
            assert_eq!(tries[*task].get(), u64::from(task.deliveries()));
            if task.deliveries() < TRIES {
                task.requeue();
            } else {
                task.done();
            }
        }
    });
}

//! How soon tasks of dead workers are found.

use std::time::Duration;

use kernel_ipc::{GetError, JoinableQueue, NoDeliveries, pipe};
use mp_sys::child::ChildProcess;
use mp_sys::futex::ended_slices;
use mp_sys::testing::{PATIENCE, hang, kill, skip, spawn, spawn_with_clocks_ahead, succeeded, tests};

tests! {
    a_process_whose_clock_is_ahead_delays_no_task,
    a_task_of_a_dead_worker_is_found_before_the_first_slice_ends,
    a_wait_shorter_than_a_slice_finds_the_task_of_a_dead_worker,
    join_looks_for_dead_workers_before_it_sleeps,
}

/// Starts a worker that holds the only task.
fn worker(queue: &JoinableQueue<u32>) -> ChildProcess {
    let (tell, told) = pipe::<()>().unwrap();
    queue.put(&7).unwrap();
    let worker = spawn(|| {
        let _task = queue.get().unwrap();
        tell.send(&()).unwrap();
        hang();
    });
    told.recv_timeout(PATIENCE).unwrap();
    worker
}

fn a_process_whose_clock_is_ahead_delays_no_task() {
    let queue = JoinableQueue::new().unwrap();
    let worker = worker(&queue);
    // The visitor waits for a task, as any worker may, and looks for dead workers in the meantime.
    let visitor = spawn_with_clocks_ahead(Duration::from_secs(100_000), || {
        let several_slices = Duration::from_millis(150);
        assert_eq!(queue.get_timeout(several_slices).unwrap_err(), GetError::TimedOut);
    });
    match visitor {
        Ok(visitor) => succeeded(&visitor),
        Err(why) => {
            kill(&worker);
            skip(why);
        }
    }
    kill(&worker);
    let task = queue.get_timeout(PATIENCE).unwrap();
    assert_eq!(task.deliveries(), 2);
    task.done();
}

fn a_task_of_a_dead_worker_is_found_before_the_first_slice_ends() {
    let queue = JoinableQueue::new().unwrap();
    kill(&worker(&queue));
    let before = ended_slices();
    let task = queue.get().unwrap();
    assert_eq!(ended_slices() - before, 0, "a wait had to end with its slice");
    assert_eq!((*task, task.deliveries()), (7, 2));
    task.done();
}

fn a_wait_shorter_than_a_slice_finds_the_task_of_a_dead_worker() {
    let queue = JoinableQueue::new().unwrap();
    kill(&worker(&queue));
    let short_lived = spawn(|| {
        let task = queue.get_timeout(Duration::from_millis(1)).unwrap();
        assert_eq!(task.done(), 7);
    });
    succeeded(&short_lived);
    queue.join().unwrap();
}

/// A task that was handed out too often is put aside when its worker dies.
fn join_looks_for_dead_workers_before_it_sleeps() {
    let queue = JoinableQueue::new().unwrap();
    assert_eq!(queue.set_max_deliveries(0), Err(NoDeliveries));
    queue.set_max_deliveries(1).unwrap();
    kill(&worker(&queue));
    let before = ended_slices();
    queue.join().unwrap();
    assert_eq!(ended_slices() - before, 0, "a wait had to end with its slice");
    assert_eq!(queue.failed().unwrap().len(), 1);
}

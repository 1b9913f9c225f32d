//! When the tasks of the dead are noticed.

use std::time::Duration;

use kernel_ipc::{GetError, JoinableQueue, NoDeliveries, pipe};
use mp_sys::child::ChildProcess;
use mp_sys::futex::ended_slices;
use mp_sys::testing::{PATIENCE, hang, kill, skip, spawn, spawn_with_clocks_ahead, succeeded, tests};

tests! {
    a_look_by_a_clock_that_is_ahead_keeps_no_task_back,
    a_task_of_the_dead_needs_no_slice,
    a_worker_that_lives_shorter_than_a_slice_has_the_task_of_the_dead,
    who_joins_finds_the_dead_first,
}

/// A worker that has the only task.
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

fn a_look_by_a_clock_that_is_ahead_keeps_no_task_back() {
    let queue = JoinableQueue::new().unwrap();
    let worker = worker(&queue);
    // It waits a while for a task, as any worker may, and looks for the dead meanwhile.
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

fn a_task_of_the_dead_needs_no_slice() {
    let queue = JoinableQueue::new().unwrap();
    kill(&worker(&queue));
    let before = ended_slices();
    let task = queue.get().unwrap();
    assert_eq!(ended_slices() - before, 0, "slices that had to end");
    assert_eq!((*task, task.deliveries()), (7, 2));
    task.done();
}

fn a_worker_that_lives_shorter_than_a_slice_has_the_task_of_the_dead() {
    let queue = JoinableQueue::new().unwrap();
    kill(&worker(&queue));
    let short_lived = spawn(|| {
        let task = queue.get_timeout(Duration::from_millis(1)).unwrap();
        assert_eq!(task.done(), 7);
    });
    succeeded(&short_lived);
    queue.join().unwrap();
}

/// A task that was handed out too often is finished by its worker's death.
fn who_joins_finds_the_dead_first() {
    let queue = JoinableQueue::new().unwrap();
    assert_eq!(queue.set_max_deliveries(0), Err(NoDeliveries));
    queue.set_max_deliveries(1).unwrap();
    kill(&worker(&queue));
    let before = ended_slices();
    queue.join().unwrap();
    assert_eq!(ended_slices() - before, 0, "slices that had to end");
    assert_eq!(queue.failed().unwrap().len(), 1);
}

//! When the tasks of the dead are noticed.

use std::time::Duration;

use kernel_ipc::{GetError, JoinableQueue, pipe};
use mp_sys::child::ChildProcess;
use mp_sys::testing::{PATIENCE, hang, kill, skip, spawn, spawn_with_clocks_ahead, succeeded, tests};

tests! {
    a_look_by_a_clock_that_is_ahead_keeps_no_task_back,
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

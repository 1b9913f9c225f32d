//! Managers in two servers, whose clients are killed between the two, at every step.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic")]

#[path = "../mixed/both.rs"]
mod both;
mod random;

use std::time::Duration;

use manager_rt::proto::Fault;
use manager_rt::{CallError, JoinableQueue, Manager, ObjectError, PutError};
use mp_sys::child::Ended;
use mp_sys::crash;
use mp_sys::testing::{ended, eventually, spawn_beside_threads};

use crate::both::rabbitmq::shared;
use crate::both::{Both, PATIENCE, tasks};

/// Runs something in a child that is killed at this step, and returns whether it lived.
fn lives(step: u64, queue: &JoinableQueue<u32>, act: impl Fn(&JoinableQueue<u32>)) -> bool {
    let child = spawn_beside_threads(|| {
        // Its keepers run, so the steps are those of the call.
        assert!(queue.len().is_ok() && queue.join_timeout(Duration::from_millis(1)).is_ok());
        crash::die_at(step);
        act(queue);
        crash::die_at(0);
    });
    ended(&child) == Ended::Exited(0)
}

/// Runs something in children that are killed at one step after the other, until one lives, and checks each time. The queue has one task
/// before.
fn killed_at_each_step(
    steps: u64,
    both: &Both,
    act: impl Fn(&JoinableQueue<u32>),
    check: impl Fn(&JoinableQueue<u32>, bool),
) {
    for step in 1.. {
        let manager = Manager::connect(&both.url()).unwrap();
        let queue = tasks(&manager);
        queue.put(&1).unwrap();
        let is_over = lives(step, &queue, &act);
        check(&queue, is_over);
        assert_eq!(queue.join_timeout(PATIENCE), Ok(true), "step {step}");
        assert_eq!(queue.unfinished(), Ok(0), "step {step}");
        if is_over {
            assert!(step > steps, "it is killed {steps} times at least");
            return;
        }
    }
}

/// Works on all tasks, and returns them.
fn worked_off(queue: &JoinableQueue<u32>) -> Vec<u32> {
    let mut done = Vec::new();
    while let Ok(task) = queue.try_get() {
        done.push(task.done().unwrap());
    }
    done
}

#[test]
fn who_puts_is_killed_between_the_servers() {
    let both = Both::start();
    let put = |queue: &JoinableQueue<u32>| queue.put(&2).unwrap();
    killed_at_each_step(3, &both, put, |queue, is_put| {
        assert_eq!(queue.unfinished(), Ok(2), "it may be there");
        let done = worked_off(queue);
        assert!(done == [1, 2] || !is_put && done == [1], "{done:?}");
    });
}

#[test]
fn who_takes_is_killed_between_the_servers() {
    let both = Both::start();
    let take = |queue: &JoinableQueue<u32>| drop(queue.get_timeout(PATIENCE).unwrap());
    killed_at_each_step(3, &both, take, |queue, _| {
        assert_eq!(queue.unfinished(), Ok(1));
        assert_eq!(queue.get_timeout(PATIENCE).unwrap().done(), Ok(1));
    });
}

#[test]
fn what_a_killed_worker_had_done_is_not_delivered_again() {
    let both = Both::start();
    let work = |queue: &JoinableQueue<u32>| drop(queue.get_timeout(PATIENCE).unwrap().done());
    killed_at_each_step(4, &both, work, |queue, is_done| {
        let left = queue.unfinished().unwrap();
        assert!(left == 0 || !is_done);
        if left == 0 {
            // The message of a task that is done may be there, but nobody gets it.
            eventually("nothing is there any more", || {
                assert!(queue.try_get().is_err());
                queue.len() == Ok(0)
            });
        } else {
            assert_eq!(queue.get_timeout(PATIENCE).unwrap().done(), Ok(1));
        }
        assert!(queue.try_get().is_err());
    });
}

/// The task may have failed without anybody noting it, since its last delivery ended before somebody noted who had it.
#[test]
fn a_task_that_fails_between_the_servers_is_not_unfinished() {
    let both = Both::start();
    for step in 1.. {
        let manager = Manager::connect(&both.url()).unwrap();
        let queue = manager.named("once").joinable_queue_with::<u32>(0, 1).unwrap();
        queue.put(&1).unwrap();
        let is_over = lives(step, &queue, |queue| drop(queue.get_timeout(PATIENCE).unwrap()));
        assert_eq!(queue.join_timeout(PATIENCE), Ok(true), "step {step}");
        eventually("it has failed", || queue.failed().unwrap().len() == 1);
        assert_eq!((queue.take_failed().unwrap().len(), queue.unfinished()), (1, Ok(0)));
        if is_over {
            assert!(step > 3, "it is killed three times at least");
            return;
        }
    }
}

#[test]
fn who_removes_is_killed_between_the_servers() {
    let both = Both::start();
    for step in 1.. {
        let manager = Manager::connect(&both.url()).unwrap();
        let queue = tasks(&manager);
        queue.put(&1).unwrap();
        let is_over = lives(step, &queue, |_| manager.remove("tasks").unwrap());
        let again = tasks(&manager);
        // The task is in the queue and counts, or neither.
        let (counted, done) = (again.unfinished(), worked_off(&again).len());
        assert_eq!(counted, Ok(done), "step {step}");
        assert!(done <= usize::from(step == 1), "step {step}");
        assert_eq!(again.join_timeout(PATIENCE), Ok(true), "step {step}");
        if is_over {
            assert!(step > 2, "it is killed twice at least");
            return;
        }
    }
}

/// RabbitMQ removed the queue, and not yet what it is.
#[test]
fn a_removal_that_ended_inside_rabbitmq_is_completed() {
    let both = Both::start();
    let (url, space) = both.url_and_namespace();
    let manager = Manager::connect(&url).unwrap();
    let queue = tasks(&manager);
    queue.put(&1).unwrap();
    assert!(!lives(1, &queue, |_| manager.remove("tasks").unwrap()));
    shared().control(&["delete_queue", &format!("{space}/tasks")]);
    let again = tasks(&manager);
    assert_eq!((again.unfinished(), again.join_timeout(PATIENCE)), (Ok(0), Ok(true)));
    again.put(&2).unwrap();
    assert_eq!((worked_off(&again), again.join_timeout(PATIENCE)), (vec![2], Ok(true)));
}

/// What is put while somebody removes the queue would be removed, and count.
#[test]
fn nothing_is_put_between_the_steps_of_a_removal() {
    let both = Both::start();
    let manager = Manager::connect(&both.url()).unwrap();
    let queue = tasks(&manager);
    queue.put(&1).unwrap();
    assert!(!lives(1, &queue, |_| manager.remove("tasks").unwrap()));
    let gone = ObjectError::Call(CallError::Fault(Fault::UnknownObject));
    assert_eq!(queue.put(&2), Err(PutError::Object(gone)));
    // Whoever removed it is dead, so it stays.
    let again = tasks(&manager);
    queue.put(&3).unwrap();
    assert_eq!((again.unfinished(), worked_off(&again)), (Ok(2), vec![1, 3]));
    assert_eq!(queue.join_timeout(PATIENCE), Ok(true));
}

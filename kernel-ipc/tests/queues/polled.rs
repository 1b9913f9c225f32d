//! The descriptor for polling a queue.

use std::os::fd::AsFd;
use std::time::Duration;

use kernel_ipc::{GetError, JoinableQueue, Queue};
use mp_sys::testing::{PATIENCE, kill, spawn, succeeded, tests};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

tests! {
    an_empty_queue_is_not_ready_at_the_first_poll,
    an_item_that_is_put_during_the_first_poll_is_seen,
    the_descriptor_says_whether_there_is_an_item,
    a_poller_in_another_process_is_woken,
    a_closed_queue_is_readable,
    a_killed_producer_leaves_no_poller_asleep,
}

fn is_readable(queue: &Queue<u32>, timeout: Duration) -> bool {
    let mut polled = [PollFd::new(queue, PollFlags::IN)];
    let timeout = Timespec::try_from(timeout).unwrap();
    poll(&mut polled, Some(&timeout)).unwrap() == 1
}

/// Takes all items and then polls, as an event loop does.
fn is_readable_after_emptying(queue: &Queue<u32>) -> bool {
    while queue.try_get().is_ok() {}
    is_readable(queue, Duration::ZERO)
}

fn an_empty_queue_is_not_ready_at_the_first_poll() {
    let (queue, tasks) = (Queue::<u32>::new().unwrap(), JoinableQueue::<u32>::new().unwrap());
    for _ in 0..2 {
        assert_eq!(kernel_ipc::wait(&[&queue as &dyn AsFd, &tasks], Duration::ZERO).unwrap(), [0_usize; 0]);
    }
    tasks.put(&1).unwrap();
    assert_eq!(kernel_ipc::wait(&[&queue as &dyn AsFd, &tasks], PATIENCE).unwrap(), [1]);
    queue.put(&1).unwrap();
    assert_eq!(kernel_ipc::wait(&[&queue as &dyn AsFd, &tasks], PATIENCE).unwrap(), [0, 1]);
    // One queue was used before the first poll, and one was closed.
    let (used, closed) = (Queue::<u32>::new().unwrap(), Queue::<u32>::new().unwrap());
    used.put(&1).unwrap();
    used.get().unwrap();
    assert!(!is_readable(&used, Duration::ZERO));
    closed.close().unwrap();
    assert!(is_readable(&closed, Duration::ZERO));
    // This task was handed out and returned.
    let returned = JoinableQueue::<u32>::new().unwrap();
    returned.put(&1).unwrap();
    drop(returned.get().unwrap());
    assert_eq!(kernel_ipc::wait(&[&returned], Duration::ZERO).unwrap(), [0]);
}

fn an_item_that_is_put_during_the_first_poll_is_seen() {
    for _ in 0..300 {
        let queue = Queue::<u32>::new().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| queue.put(&1).unwrap());
            // Two pollers poll for the first time at the same moment.
            for _ in 0..2 {
                scope.spawn(|| assert!(is_readable(&queue, PATIENCE)));
            }
        });
        assert_eq!(queue.try_get(), Ok(1));
        assert!(!is_readable(&queue, Duration::ZERO));
    }
}

fn the_descriptor_says_whether_there_is_an_item() {
    let queue = Queue::new().unwrap();
    queue.put(&1).unwrap();
    assert!(is_readable(&queue, Duration::ZERO));
    assert!(!is_readable_after_emptying(&queue));
    queue.put(&2).unwrap();
    assert!(is_readable(&queue, Duration::ZERO));
    queue.put(&3).unwrap();
    assert_eq!(queue.get(), Ok(2));
    assert!(is_readable(&queue, Duration::ZERO), "one item is left");
    assert_eq!(queue.get(), Ok(3));
    assert!(!is_readable(&queue, Duration::ZERO), "the last get makes it unreadable");
    queue.put_many(&[4, 5]).unwrap();
    assert_eq!(queue.get_many(2).unwrap().len(), 2);
    assert!(!is_readable(&queue, Duration::ZERO));
}

fn a_poller_in_another_process_is_woken() {
    let queue = Queue::new().unwrap();
    let poller = spawn(|| {
        for expected in 0..1_000 {
            while queue.is_empty() {
                is_readable(&queue, PATIENCE);
            }
            assert_eq!(queue.try_get(), Ok(expected));
        }
        assert_eq!(queue.try_get(), Err(GetError::Empty));
    });
    let arrived = queue.clone();
    for n in 0..1_000 {
        arrived.put(&n).unwrap();
        if n % 10 == 0 {
            mp_sys::testing::eventually("the queue is emptied", || arrived.is_empty());
        }
    }
    succeeded(&poller);
}

fn a_closed_queue_is_readable() {
    let queue = Queue::<u32>::new().unwrap();
    let _armed = queue.as_fd();
    assert!(!is_readable_after_emptying(&queue));
    queue.close().unwrap();
    assert!(is_readable_after_emptying(&queue), "a poller must notice the end");
    assert_eq!(queue.try_get(), Err(GetError::Closed));
}

fn a_killed_producer_leaves_no_poller_asleep() {
    let queue = Queue::new().unwrap();
    let _armed = queue.as_fd();
    for _ in 0..50 {
        let producer = spawn(|| {
            loop {
                queue.put(&1).unwrap();
                queue.try_get().unwrap();
            }
        });
        mp_sys::testing::eventually("the producer is at work", || !queue.is_empty());
        kill(&producer);
        if queue.is_empty() {
            continue;
        }
        assert!(is_readable(&queue, Duration::ZERO), "there is an item, and a poller would sleep");
        assert!(!is_readable_after_emptying(&queue));
    }
}

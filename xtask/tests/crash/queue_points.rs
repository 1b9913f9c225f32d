//! Queues: processes are killed after every single store of an operation.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;

use mp::{GetError, JoinableQueue, Queue, Task};
use mp_sys::child::Ended;
use mp_sys::crash;
use mp_sys::testing::{ended, eventually};

use crate::cell::{Outcome, define_cells, spawn};
use crate::points::at_every_point;

/// The bytes of an item of which few fit into a segment.
const LARGE: usize = 60_000;

/// A queue that is made again for each point.
struct Subject {
    queue: RefCell<Queue<()>>,
    make: fn() -> Queue<()>,
}

/// An item whose first and last bytes are its number.
fn item(number: u8, len: usize) -> Vec<u8> {
    vec![number; len]
}

impl Subject {
    fn new(make: fn() -> Queue<()>) -> Self {
        Self { queue: RefCell::new(make()), make }
    }

    fn renew(&self) {
        *self.queue.borrow_mut() = (self.make)();
    }

    /// Returns the numbers of all items in the queue, or `None` if something makes no sense. Afterwards the queue is
    /// empty, and has been shown to grow, to shrink, and to serve another process.
    fn numbers(&self) -> Option<Vec<u8>> {
        let queue = self.queue.borrow();
        let mut numbers = Vec::new();
        let expected = queue.len();
        loop {
            match queue.try_get_bytes() {
                Ok(bytes) if bytes.iter().all(|byte| *byte == bytes[0]) => numbers.push(bytes[0]),
                Err(GetError::Empty) => break,
                _ => return None,
            }
        }
        let is_live = ended(&spawn(|| {
            for number in 0..40 {
                queue.put_bytes(&item(number, LARGE)).unwrap();
            }
            for number in 0..40 {
                assert_eq!(queue.get_bytes().unwrap(), item(number, LARGE));
            }
        })) == Ended::Exited(0);
        (numbers.len() == expected && queue.is_empty() && is_live).then_some(numbers)
    }

    /// Runs `operation` at every point. The queue then holds `before` or `after`; it must be `after` if nobody died.
    fn run(&self, operation: impl Fn(&Queue<()>), before: &[u8], after: &[u8]) -> Outcome {
        at_every_point(
            || self.renew(),
            || operation(&self.queue.borrow()),
            |survived| {
                let found = self.numbers();
                let is_after = found.as_deref() == Some(after);
                is_after || (!survived && found.as_deref() == Some(before))
            },
        )
    }
}

fn with_items(numbers: &[u8], len: usize) -> Queue<()> {
    let queue = Queue::new().unwrap();
    for number in numbers {
        queue.put_bytes(&item(*number, len)).unwrap();
    }
    queue
}

fn put(_: u32) -> Outcome {
    let subject = Subject::new(|| with_items(&[1, 2], 10));
    subject.run(|queue| queue.put_bytes(&item(3, 10)).unwrap(), &[1, 2], &[1, 2, 3])
}

fn put_many(_: u32) -> Outcome {
    let subject = Subject::new(|| with_items(&[1], 10));
    subject.run(|queue| queue.put_many_bytes(&[[2; 5], [3; 5]]).unwrap(), &[1], &[1, 2, 3])
}

/// The first segment is full, so another one is cut and linked.
fn grow(_: u32) -> Outcome {
    let subject = Subject::new(|| with_items(&[1], LARGE));
    subject.run(|queue| queue.put_bytes(&item(2, LARGE)).unwrap(), &[1], &[1, 2])
}

/// The next segment is empty, and is entered.
fn go_on(_: u32) -> Outcome {
    let subject = Subject::new(|| {
        let queue = with_items(&[1, 2, 3, 4, 5, 6], LARGE);
        for _ in 0..5 {
            queue.get_bytes().unwrap();
        }
        // Up to the end of its segment.
        while queue.len() < 4 {
            queue.put_bytes(&item(7, LARGE)).unwrap();
        }
        queue
    });
    subject.run(|queue| queue.put_bytes(&item(8, LARGE)).unwrap(), &[6, 7, 7, 7], &[6, 7, 7, 7, 8])
}

fn get(_: u32) -> Outcome {
    let subject = Subject::new(|| with_items(&[1, 2, 3], 10));
    subject.run(
        |queue| {
            queue.get_bytes().unwrap();
        },
        &[1, 2, 3],
        &[2, 3],
    )
}

fn get_many(_: u32) -> Outcome {
    let subject = Subject::new(|| with_items(&[1, 2, 3], 10));
    subject.run(
        |queue| {
            assert_eq!(queue.get_many(2).unwrap().next_bytes(), Some(&item(1, 10)[..]));
        },
        &[1, 2, 3],
        &[3],
    )
}

/// The consumer leaves a segment after a peak, and its memory is freed.
fn shrink(_: u32) -> Outcome {
    let subject = Subject::new(|| {
        let queue = Queue::new().unwrap();
        // More than the queue keeps, in segments of up to 4 MiB.
        for _ in 0..800 {
            queue.put_bytes(&item(1, LARGE)).unwrap();
        }
        while queue.len() > 80 {
            queue.get_bytes().unwrap();
        }
        queue
    });
    // A segment of 4 MiB holds 69 items, so the consumer leaves one segment on the way.
    at_every_point(
        || subject.renew(),
        || {
            for _ in 0..75 {
                subject.queue.borrow().get_bytes().unwrap();
            }
        },
        |survived| {
            let left = subject.numbers().map(|numbers| numbers.len());
            left.is_some_and(|left| left == 5 || (!survived && (5..=80).contains(&left)))
        },
    )
}

/// A process polls: the descriptor becomes readable before the item is there, and unreadable after it is gone.
fn polled(_: u32) -> Outcome {
    let subject = Subject::new(|| {
        let queue = with_items(&[], 0);
        let _armed = queue.as_fd();
        queue.try_get_bytes().unwrap_err();
        queue
    });
    let is_right = |queue: &Queue<()>| mp::wait(&[queue], std::time::Duration::ZERO).unwrap() == [0];
    at_every_point(
        || subject.renew(),
        || {
            let queue = subject.queue.borrow();
            queue.put_bytes(&item(1, 10)).unwrap();
            queue.put_bytes(&item(2, 10)).unwrap();
            queue.get_bytes().unwrap();
            queue.get_bytes().unwrap();
        },
        |_| {
            let queue = subject.queue.borrow();
            // Whatever is there, a poller is not left asleep.
            let told = queue.is_empty() || is_right(&queue);
            while queue.try_get_bytes().is_ok() {}
            let quiet = !is_right(&queue);
            queue.put_bytes(&item(3, 10)).unwrap();
            told && quiet && is_right(&queue)
        },
    )
}

fn close(_: u32) -> Outcome {
    let subject = Subject::new(|| with_items(&[1], 10));
    at_every_point(
        || subject.renew(),
        || subject.queue.borrow().close().unwrap(),
        |survived| {
            let queue = subject.queue.borrow();
            let closed = queue.is_closed();
            queue.get_bytes().unwrap();
            let ends = queue.close().is_ok() && queue.try_get_bytes() == Err(GetError::Closed);
            (closed || !survived) && ends
        },
    )
}

/// A producer dies at each point of growing, and the process that takes over dies at each point of finding everything
/// again.
fn take_over(_: u32) -> Outcome {
    let mut sum = Outcome::default();
    for first in 1.. {
        let grown = RefCell::new(false);
        let subject = Subject::new(|| with_items(&[1], LARGE));
        let out = at_every_point(
            || {
                subject.renew();
                let victim = spawn(|| {
                    crash::die_at(first);
                    subject.queue.borrow().put_bytes(&item(2, LARGE)).unwrap();
                });
                *grown.borrow_mut() = ended(&victim) == Ended::Exited(0);
            },
            || subject.queue.borrow().put_bytes(&item(3, 10)).unwrap(),
            |survived| {
                let found = subject.numbers().unwrap_or_default();
                let rest = found.strip_prefix(&[1]).unwrap_or(&[9]);
                let rest = rest.strip_prefix(&[2]).unwrap_or(rest);
                rest == [3] || (!survived && rest.is_empty())
            },
        );
        sum.kills += out.kills;
        sum.torn += out.torn;
        if grown.into_inner() {
            return sum;
        }
    }
    sum
}

/// A task queue with one task, made again for each point.
struct Tasks(RefCell<JoinableQueue<u8>>);

impl Tasks {
    fn new() -> Self {
        Self(RefCell::new(JoinableQueue::new().unwrap()))
    }

    fn renew(&self, tasks: &[u8]) {
        let queue = JoinableQueue::new().unwrap();
        queue.put_many(tasks).unwrap();
        *self.0.borrow_mut() = queue;
    }

    /// Does all tasks that are there or come back, and returns them; `None` if that does not end.
    fn finish(&self) -> Option<Vec<u8>> {
        let queue = self.0.borrow();
        let done = RefCell::new(Vec::new());
        eventually("all tasks come back", || {
            while let Ok(task) = queue.try_get() {
                done.borrow_mut().push(task.done());
            }
            queue.unfinished() == Ok(0)
        });
        queue.join_timeout(crate::cell::HANG).ok().filter(|is_done| *is_done)?;
        let mut done = done.into_inner();
        done.sort_unstable();
        Some(done)
    }
}

/// Ends its process with the task undone.
fn keep(task: Task<u8>) {
    let _kept = ManuallyDrop::new(task);
}

/// A worker that takes a task dies: the task is there for others, once.
fn lease(_: u32) -> Outcome {
    let tasks = Tasks::new();
    at_every_point(
        || tasks.renew(&[1, 2]),
        || keep(tasks.0.borrow().get().unwrap()),
        |_| tasks.finish() == Some(vec![1, 2]),
    )
}

/// A worker that reports a task as done dies: the task is done, or it is there for others.
fn done(_: u32) -> Outcome {
    let tasks = Tasks::new();
    at_every_point(
        || tasks.renew(&[1, 2]),
        || {
            tasks.0.borrow().get().unwrap().done();
        },
        |survived| {
            let rest = tasks.finish();
            rest == Some(vec![2]) || (!survived && rest == Some(vec![1, 2]))
        },
    )
}

fn requeue(_: u32) -> Outcome {
    let tasks = Tasks::new();
    at_every_point(
        || tasks.renew(&[1, 2]),
        || {
            let queue = tasks.0.borrow();
            queue.get().unwrap().requeue();
            keep(queue.get().unwrap());
        },
        |_| tasks.finish() == Some(vec![1, 2]),
    )
}

/// A worker died with its task, and the process that looks for the dead dies as well.
fn look(_: u32) -> Outcome {
    let tasks = Tasks::new();
    at_every_point(
        || {
            tasks.renew(&[1]);
            let victim = spawn(|| keep(tasks.0.borrow().get().unwrap()));
            assert_eq!(ended(&victim), Ended::Exited(0));
        },
        || {
            let task = tasks.0.borrow().get_timeout(crate::cell::HANG).unwrap();
            keep(task);
        },
        |_| tasks.finish() == Some(vec![1]),
    )
}

define_cells! {
    PUT: "queue", "every_point_of_put", put;
    PUT_MANY: "queue", "every_point_of_put_many", put_many;
    GROW: "queue", "every_point_of_grow", grow;
    GO_ON: "queue", "every_point_of_next_segment", go_on;
    GET: "queue", "every_point_of_get", get;
    GET_MANY: "queue", "every_point_of_get_many", get_many;
    SHRINK: "queue", "every_point_of_shrink", shrink;
    POLLED: "queue", "every_point_while_polled", polled;
    CLOSE: "queue", "every_point_of_close", close;
    TAKE_OVER: "queue", "every_point_of_taking_over", take_over;
    LEASE: "joinable_queue", "every_point_of_get", lease;
    DONE: "joinable_queue", "every_point_of_done", done;
    REQUEUE: "joinable_queue", "every_point_of_requeue", requeue;
    LOOK: "joinable_queue", "every_point_of_look", look;
}

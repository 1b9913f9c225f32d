//! Queues in shared memory.

use std::collections::VecDeque;

use kernel_ipc::{GetError, PutError, Queue};
use mp_sys::testing::{Random, tests};

use crate::record::{Log, OPERATIONS, Word, check, is_linearizable, kill_one};
use crate::specs::{QueueAnswer as Answer, QueueOp as Op, QueueSpec};

tests! {
    histories_of_a_queue_are_linearizable,
    histories_of_a_bounded_queue_are_linearizable,
    histories_with_kills_are_linearizable,
    a_history_that_is_not_linearizable_is_found,
}

const HISTORIES: u64 = 500;
/// About the time that all operations of a process take, in nanoseconds.
const MOMENT_MAX: u64 = 15_000;

fn spec(capacity: usize) -> QueueSpec {
    QueueSpec { items: VecDeque::new(), capacity }
}

fn operate(queue: &Queue<u64>, log: &Log, process: u64, random: &mut Random, begin: &dyn Fn()) {
    begin();
    for operation in 0..OPERATIONS {
        let op = if random.below(2) == 0 { Op::Get } else { Op::Put(process * OPERATIONS + operation) };
        log.run(process, operation, &op, || match op {
            Op::Put(item) => match queue.try_put(&item) {
                Ok(()) => Answer::Done,
                Err(PutError::Full) => Answer::Full,
                Err(other) => panic!("{other}"),
            },
            Op::Get => match queue.try_get() {
                Ok(item) => Answer::Item(item),
                Err(GetError::Empty) => Answer::Empty,
                Err(other) => panic!("{other}"),
            },
        });
    }
}

fn histories_of_a_queue_are_linearizable() {
    check((HISTORIES, None), &spec(usize::MAX), || Queue::new().unwrap(), operate);
}

fn histories_of_a_bounded_queue_are_linearizable() {
    check((HISTORIES, None), &spec(2), || Queue::bounded(2).unwrap(), operate);
}

fn histories_with_kills_are_linearizable() {
    let kill = kill_one::<QueueSpec>(MOMENT_MAX);
    check((HISTORIES, Some(&kill)), &spec(3), || Queue::bounded(3).unwrap(), operate);
}

/// The check can fail: an item comes out before it was put, and one item overtakes another.
fn a_history_that_is_not_linearizable_is_found() {
    let (put, get) = (|item| Op::Put(item).to_word(), Op::Get.to_word());
    let (done, item) = (Answer::Done.to_word(), |item| Answer::Item(item).to_word());
    let early = [(0, false, get), (0, true, item(7)), (1, false, put(7)), (1, true, done)];
    assert!(!is_linearizable(spec(9), &early));
    let both = [(0, false, put(1)), (0, true, done), (0, false, put(2)), (0, true, done)];
    let overtaken = [&both[..], &[(1, false, get), (1, true, item(2))]].concat();
    assert!(!is_linearizable(spec(9), &overtaken));
    let in_order = [&both[..], &[(1, false, get), (1, true, item(1))]].concat();
    assert!(is_linearizable(spec(9), &in_order));
}

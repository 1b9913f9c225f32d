//! Histories of queues, recorded while processes use them and are killed, and checked for linearizability: there is one
//! order of all operations, each between its call and its return, in which a simple queue would have given the same answers.
//!
//! An operation whose process was killed has happened at some moment after its call, or not at all.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::VecDeque;

use kernel_ipc::{GetError, PutError, Queue};
use mp_sys::deadline::now_nanos;
use mp_sys::testing::{Random, ended, eventually, runner, spawn, tests};
use shm_core::{RawArray, RawValue};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

tests! {
    histories_of_a_queue,
    histories_of_a_bounded_queue,
    histories_with_kills,
    a_history_that_is_not_linearizable_is_found,
}

fn main() -> std::process::ExitCode {
    runner::main(TESTS, mp::release_unused_memory)
}

const PROCESSES: u64 = 3;
/// Operations of each process in one history: how long a check takes grows with all of them, and fast.
const OPERATIONS: u64 = 6;
const HISTORIES: u64 = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Op {
    Put(u64),
    Get,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Answer {
    Done,
    Full,
    Empty,
    Item(u64),
}

/// What a queue is supposed to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Spec {
    items: VecDeque<u64>,
    capacity: usize,
}

impl SequentialSpec for Spec {
    type Op = Op;
    type Ret = Answer;

    fn invoke(&mut self, op: &Op) -> Answer {
        match op {
            Op::Put(_) if self.items.len() >= self.capacity => Answer::Full,
            Op::Put(item) => {
                self.items.push_back(*item);
                Answer::Done
            }
            Op::Get => self.items.pop_front().map_or(Answer::Empty, Answer::Item),
        }
    }
}

/// Words of a record: when, and what. A time is stored last, so a record with a time is whole.
const RECORD: usize = 2;
/// What has no answer yet.
const OPEN: u64 = 0;

impl Op {
    fn to_word(self) -> u64 {
        match self {
            Self::Get => 1,
            Self::Put(item) => item + 2,
        }
    }

    fn from_word(word: u64) -> Self {
        if word == 1 { Self::Get } else { Self::Put(word - 2) }
    }
}

impl Answer {
    fn to_word(self) -> u64 {
        match self {
            Self::Done => 1,
            Self::Full => 2,
            Self::Empty => 3,
            Self::Item(item) => item + 4,
        }
    }

    fn from_word(word: u64) -> Self {
        match word {
            1 => Self::Done,
            2 => Self::Full,
            3 => Self::Empty,
            item => Self::Item(item - 4),
        }
    }
}

/// What happened, in shared memory: two records an operation, its call and its return.
struct Log(RawArray<u64>);

impl Log {
    fn new() -> Self {
        let operations = usize::try_from(PROCESSES * OPERATIONS).unwrap();
        Self(RawArray::zeroed(operations * RECORD * 2).unwrap())
    }

    fn note(&self, process: u64, operation: u64, is_return: bool, what: u64) {
        let at =
            usize::try_from((process * OPERATIONS + operation) * 2 + u64::from(is_return)).unwrap() * RECORD;
        if is_return {
            // Taken after the operation, stored last.
            let now = now_nanos();
            self.0.set(at + 1, what).unwrap();
            self.0.set(at, now).unwrap();
        } else {
            self.0.set(at + 1, what).unwrap();
            self.0.set(at, now_nanos()).unwrap();
        }
    }

    /// All that was noted, by time: the process, whether it is a return, and what.
    fn events(&self) -> Vec<(u64, bool, u64)> {
        let words = self.0.to_vec();
        let mut events = Vec::new();
        for (index, record) in words.chunks_exact(RECORD).enumerate() {
            let process = u64::try_from(index).unwrap() / (OPERATIONS * 2);
            if record[0] != OPEN {
                events.push((record[0], process, index % 2 == 1, record[1]));
            }
        }
        // A call at the same moment as a return counts as before it: that allows more orders, never fewer.
        events.sort_by_key(|(time, _, is_return, _)| (*time, *is_return));
        events.into_iter().map(|(_, process, is_return, what)| (process, is_return, what)).collect()
    }
}

fn is_linearizable(capacity: usize, events: &[(u64, bool, u64)]) -> bool {
    let spec = Spec { items: VecDeque::new(), capacity };
    let mut tester = LinearizabilityTester::new(spec);
    for (process, is_return, what) in events {
        let noted = if *is_return {
            tester.on_return(*process, Answer::from_word(*what)).map(drop)
        } else {
            tester.on_invoke(*process, Op::from_word(*what)).map(drop)
        };
        noted.unwrap();
    }
    tester.is_consistent()
}

fn operate(queue: &Queue<u64>, log: &Log, process: u64, seed: u64) {
    let mut random = Random::seeded(seed);
    for operation in 0..OPERATIONS {
        let op = if random.below(2) == 0 { Op::Get } else { Op::Put(process * OPERATIONS + operation) };
        log.note(process, operation, false, op.to_word());
        let answer = match op {
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
        };
        log.note(process, operation, true, answer.to_word());
    }
}

fn check(make: fn() -> Queue<u64>, capacity: usize, kills: bool) {
    let mut random = Random::new();
    let seed = random.seed();
    let mut overlapping = 0;
    for _ in 0..HISTORIES {
        let (queue, log) = (make(), Log::new());
        let seeds: Vec<u64> = (0..PROCESSES).map(|_| random.below(u64::MAX)).collect();
        let arrived = RawValue::new(0_u64).unwrap();
        let children: Vec<_> = (0..PROCESSES)
            .zip(&seeds)
            .map(|(process, seed)| {
                spawn(|| {
                    // All begin together, or there would be nothing to order.
                    arrived.fetch_add(1);
                    eventually("all have arrived", || arrived.load() == PROCESSES);
                    operate(&queue, &log, process, *seed);
                })
            })
            .collect();
        if kills {
            eventually("all have arrived", || arrived.load() == PROCESSES);
            random.pause(15_000);
            let victim = usize::try_from(random.below(PROCESSES)).unwrap();
            children[victim].signal(9).unwrap();
        }
        for child in &children {
            let _whichever = ended(child);
        }
        let events = log.events();
        overlapping += u64::from(events.windows(2).any(|pair| !pair[0].1 && !pair[1].1));
        assert!(is_linearizable(capacity, &events), "MP_SEED={seed}: {events:?}");
    }
    // A history in which nothing overlaps says little.
    assert!(overlapping > HISTORIES / 10, "{overlapping} of {HISTORIES}");
}

fn histories_of_a_queue() {
    check(|| Queue::new().unwrap(), usize::MAX, false);
}

fn histories_of_a_bounded_queue() {
    check(|| Queue::bounded(2).unwrap(), 2, false);
}

fn histories_with_kills() {
    check(|| Queue::bounded(3).unwrap(), 3, true);
}

/// The check can fail: an item that comes out before it was put, and one that overtakes another.
fn a_history_that_is_not_linearizable_is_found() {
    let (put, get) = (|item| Op::Put(item).to_word(), Op::Get.to_word());
    let (done, item) = (Answer::Done.to_word(), |item| Answer::Item(item).to_word());
    let early = [(0, false, get), (0, true, item(7)), (1, false, put(7)), (1, true, done)];
    assert!(!is_linearizable(9, &early));
    let both = [(0, false, put(1)), (0, true, done), (0, false, put(2)), (0, true, done)];
    let overtaken = [&both[..], &[(1, false, get), (1, true, item(2))]].concat();
    assert!(!is_linearizable(9, &overtaken));
    let in_order = [&both[..], &[(1, false, get), (1, true, item(1))]].concat();
    assert!(is_linearizable(9, &in_order));
}

//! Queues between processes.

use std::time::{Duration, Instant};

use kernel_ipc::{GetError, PutError, Queue};
use mp_sys::child::ChildProcess;
use mp_sys::testing::{PATIENCE, assert_woken, kill, skip, spawn, succeeded, tests};
use rustix::process::Signal;

tests! {
    four_producers_and_four_consumers,
    a_full_queue_makes_producers_wait,
    batches_between_processes,
    items_outlive_their_producer,
    a_waiting_consumer_is_woken,
    closing_wakes_all_waiters,
    killed_waiters_lose_no_wake_up,
    a_stopped_holder_of_the_lock_does_not_block_try_calls,
    every_waiter_gets_its_turn,
    a_child_forked_between_put_and_get,
    two_processes_on_one_cpu_switch_seldom,
}

const PRODUCERS: u64 = 4;

fn all(count: u64, body: impl Fn(u64)) -> Vec<ChildProcess> {
    (0..count).map(|n| spawn(|| body(n))).collect()
}

/// An item: its producer, and its number there.
type Made = (u64, u64);

/// Takes items until the queue is closed, checks their order, and reports their number for each producer.
fn consume(queue: &Queue<Made>, results: &Queue<Vec<u64>>) {
    let mut newest = vec![None; usize::try_from(PRODUCERS).unwrap()];
    let mut counts = vec![0; newest.len()];
    for item in queue {
        let (producer, number) = item.unwrap();
        let producer = usize::try_from(producer).unwrap();
        assert!(newest[producer] < Some(number), "items of one producer arrived in another order");
        newest[producer] = Some(number);
        counts[producer] += 1;
    }
    results.put(&counts).unwrap();
    assert_woken();
}

fn four_producers_and_four_consumers() {
    const EACH: u64 = 250_000;
    let queue = Queue::new().unwrap();
    let results = Queue::new().unwrap();
    let consumers = all(4, |_| consume(&queue, &results));
    let producers = all(PRODUCERS, |producer| {
        for number in 0..EACH {
            queue.put(&(producer, number)).unwrap();
        }
    });
    producers.iter().for_each(succeeded);
    queue.close().unwrap();
    consumers.iter().for_each(succeeded);
    let sums = results.get_many(4).unwrap().map(Result::unwrap);
    let sums = sums.reduce(|a, b| a.iter().zip(b).map(|(a, b)| a + b).collect());
    assert_eq!(sums, Some(vec![EACH; 4]));
}

fn a_full_queue_makes_producers_wait() {
    const EACH: u64 = 20_000;
    let queue = Queue::bounded(3).unwrap();
    let results = Queue::new().unwrap();
    let consumers = all(4, |_| consume(&queue, &results));
    let producers = all(PRODUCERS, |producer| {
        for number in 0..EACH {
            queue.put(&(producer, number)).unwrap();
            assert!(queue.len() <= 3);
        }
        assert_woken();
    });
    producers.iter().for_each(succeeded);
    queue.close().unwrap();
    consumers.iter().for_each(succeeded);
    let sums: u64 = results.get_many(4).unwrap().flat_map(Result::unwrap).sum();
    assert_eq!(sums, EACH * PRODUCERS);
}

fn batches_between_processes() {
    let queue = Queue::bounded_bytes(4096).unwrap();
    let producer = spawn(|| {
        let items: Vec<u64> = (0..50_000).collect();
        for batch in items.chunks(33) {
            queue.put_many(batch).unwrap();
        }
        queue.close().unwrap();
    });
    let mut next = 0;
    while let Ok(batch) = queue.get_many(20) {
        for item in batch {
            assert_eq!(item, Ok(next));
            next += 1;
        }
    }
    assert_eq!(next, 50_000);
    succeeded(&producer);
}

fn items_outlive_their_producer() {
    let queue = Queue::new().unwrap();
    let producer = spawn(|| {
        for n in 0..10_000_u32 {
            queue.put(&n).unwrap();
        }
        mp_sys::testing::hang();
    });
    mp_sys::testing::eventually("all is put", || queue.len() == 10_000);
    kill(&producer);
    for n in 0..10_000 {
        assert_eq!(queue.try_get(), Ok(n));
    }
}

fn a_waiting_consumer_is_woken() {
    let (there, back) = (Queue::new().unwrap(), Queue::new().unwrap());
    let echo = spawn(|| {
        for item in &there {
            back.put(&item.unwrap()).unwrap();
        }
    });
    for n in 0..5_000_u32 {
        there.put(&n).unwrap();
        assert_eq!(back.get_timeout(PATIENCE), Ok(n));
    }
    there.close().unwrap();
    succeeded(&echo);
    assert_woken();
}

fn closing_wakes_all_waiters() {
    let (empty, full) = (Queue::<u8>::new().unwrap(), Queue::bounded(1).unwrap());
    full.put(&0).unwrap();
    let getters = all(3, |_| assert_eq!(empty.get_timeout(PATIENCE), Err(GetError::Closed)));
    let putters = all(3, |_| assert_eq!(full.put_timeout(&1, PATIENCE), Err(PutError::Closed)));
    // Most of the children wait by then. The others find the queues closed.
    assert_eq!(full.put_timeout(&1, Duration::from_millis(50)), Err(PutError::TimedOut));
    empty.close().unwrap();
    full.close().unwrap();
    getters.iter().chain(&putters).for_each(succeeded);
}

fn killed_waiters_lose_no_wake_up() {
    let queue = Queue::new().unwrap();
    for _ in 0..20 {
        let waiters = all(3, |_| {
            queue.get().unwrap();
            queue.get().unwrap();
            mp_sys::testing::hang();
        });
        let survivor = spawn(|| assert_eq!(queue.get_timeout(PATIENCE), Ok(7)));
        waiters.iter().for_each(kill);
        queue.put(&7).unwrap();
        succeeded(&survivor);
        assert!(queue.is_empty());
    }
}

fn a_stopped_holder_of_the_lock_does_not_block_try_calls() {
    let queue = Queue::<Vec<u8>>::bounded(4).unwrap();
    // The child makes long copies under the lock, so it is stopped there sooner or later.
    let item = vec![1; 1 << 20];
    let holder = spawn(|| {
        loop {
            queue.put(&item).unwrap();
            queue.get().unwrap();
        }
    });
    for _ in 0..20 {
        holder.signal(Signal::STOP.as_raw()).unwrap();
        // Any answer is fine, as long as there is one.
        let _whichever = queue.try_get();
        let _whichever = queue.try_put(&Vec::new());
        holder.signal(Signal::CONT.as_raw()).unwrap();
    }
    kill(&holder);
    let _whichever = queue.try_get();
    queue.put_timeout(&Vec::new(), PATIENCE).unwrap();
}

fn every_waiter_gets_its_turn() {
    let queue = Queue::new().unwrap();
    let served = Queue::new().unwrap();
    let consumers = all(6, |consumer| {
        let mut mine = 0_u32;
        while queue.get().is_ok() {
            mine += 1;
            if mine == 20 {
                served.put(&consumer).unwrap();
            }
        }
    });
    let producer = spawn(|| {
        while queue.put(&()).is_ok() {
            if queue.len() > 4 {
                std::thread::yield_now();
            }
        }
    });
    for _ in 0..6 {
        served.get_timeout(PATIENCE).unwrap();
    }
    queue.close().unwrap();
    succeeded(&producer);
    consumers.iter().for_each(succeeded);
}

fn a_child_forked_between_put_and_get() {
    let queue = Queue::new().unwrap();
    queue.put(&1).unwrap();
    let child = spawn(|| {
        assert_eq!(queue.get(), Ok(1));
        queue.put(&2).unwrap();
    });
    succeeded(&child);
    assert_eq!(queue.get(), Ok(2));
    assert!(queue.is_empty());
}

/// Returns how often this process went to sleep.
fn sleeps() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

/// How much CPU time this process has used.
fn cpu_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(used).unwrap()
}

/// What a consumer did during one run.
struct Run {
    /// How often it slept.
    sleeps: u64,
    /// Which part of the time the CPU worked for it and its producer, from 0 to 1.
    share: f64,
}

/// Sends items of 64 KiB through a queue of 1 MiB, on one CPU.
fn run_of_a_consumer(items: u64) -> Run {
    let queue = Queue::<()>::bounded_bytes(1 << 20).unwrap();
    let slept = Queue::<(u64, Duration)>::new().unwrap();
    let consumer = spawn(|| {
        let mut item = vec![0; 64 << 10];
        let before = (sleeps(), cpu_time());
        for _ in 0..items {
            queue.get_bytes_into(&mut item).unwrap();
        }
        slept.put(&(sleeps() - before.0, cpu_time() - before.1)).unwrap();
    });
    let item = vec![7; 64 << 10];
    let (begun, before) = (Instant::now(), cpu_time());
    for _ in 0..items {
        queue.put_bytes(&item).unwrap();
    }
    let (sleeps, consumer_used) = slept.get().unwrap();
    let used = cpu_time() - before + consumer_used;
    let share = used.as_secs_f64() / begun.elapsed().as_secs_f64();
    succeeded(&consumer);
    Run { sleeps, share }
}

/// If the producer is interrupted for its consumer every few items, the consumer sleeps once for every 3 to 12 of them.
/// Other work on the same CPU causes that too, so only one of several runs has to be without it, and a run that had
/// to share the CPU shows nothing.
fn two_processes_on_one_cpu_switch_seldom() {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    const ITEMS: u64 = 4_000;
    let allowed = sched_getaffinity(None).unwrap();
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu)).unwrap());
    sched_setaffinity(None, &one).unwrap();
    let runs: Vec<Run> = (0..20).map(|_| run_of_a_consumer(ITEMS)).collect();
    if runs.iter().any(|run| run.sleeps < ITEMS / 20) {
        return;
    }
    let shown: Vec<String> = runs.iter().map(|run| format!("{} at {:.2}", run.sleeps, run.share)).collect();
    if runs.iter().all(|run| run.share < 0.9) {
        skip(format!("others worked on the same CPU all the time: slept {shown:?}"));
    }
    panic!("slept {shown:?}");
}

//! Pipelines of several threads that share the connection of a process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use manager_rt::{Batch, Manager, ObjectError};

/// Runs one call, which must not sleep until its deadline of 30 seconds. All calls of a test together may take longer.
fn woken<T>(call: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let outcome = call();
    assert!(started.elapsed() < Duration::from_secs(25), "a thread slept until its deadline");
    outcome
}

/// Another thread may have read the answers of a pipeline.
#[test]
fn pipelines_and_calls_of_many_threads_leave_no_answer_behind() {
    const ROUNDS: u32 = 60;
    let manager = Manager::start().unwrap();
    let dict = manager.dict::<u64, u64>().unwrap();
    thread::scope(|scope| {
        for base in 0..4 {
            let (manager, dict) = (&manager, &dict);
            scope.spawn(move || {
                for round in 0..u64::from(ROUNDS) {
                    let keys = || (0..1_500).map(|key| base * 10_000 + key);
                    let done = woken(|| {
                        manager.pipeline(|p| {
                            keys().map(|key| p.on(dict).insert(&key, &round)).collect::<Vec<_>>()
                        })
                    });
                    let done = done.unwrap();
                    assert!(done.into_iter().all(|answer| answer.is_ok()));
                }
            });
        }
        for _ in 0..3 {
            scope.spawn(|| (0..ROUNDS * 200).for_each(|_| assert!(woken(|| dict.len()).is_ok())));
        }
    });
}

/// More operations than one portion of a pipeline holds.
const MANY: u64 = 5_000;
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until a condition holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        thread::yield_now();
    }
}

#[test]
fn the_server_runs_the_beginning_of_a_long_pipeline_while_the_rest_is_recorded() {
    let manager = Manager::start().unwrap();
    let dict = manager.dict::<u64, u64>().unwrap();
    let done = manager.pipeline(|p| {
        let first: Vec<_> = (0..MANY).map(|key| p.on(&dict).insert(&key, &key)).collect();
        // Another call over the same connection reads for both.
        until("the first entry is there", || dict.get(&0).unwrap() == Some(0));
        (first, p.on(&dict).len())
    });
    let (first, len) = done.unwrap();
    assert!(first.into_iter().all(|answer| answer.is_ok()));
    assert_eq!(len, Ok(5_000));
}

#[test]
fn a_pipeline_that_is_not_recorded_to_its_end_takes_nothing_and_leaves_no_reference() {
    let manager = Manager::start().unwrap();
    let stranger = Manager::in_process().unwrap().value(&1).unwrap();
    let (queue, sum) = (manager.queue::<u64>().unwrap(), manager.value(&0_u64).unwrap());
    let holder = manager.value(&manager.value(&1).unwrap()).unwrap();
    queue.put_many(&(0..MANY).collect::<Vec<_>>()).unwrap();
    let record = |p: &mut Batch<'_>, is_broken: bool| {
        (0..MANY).for_each(|_| drop((p.on(&holder).get(), p.on(&sum).fetch_add(1))));
        until("the beginning is done", || sum.get().unwrap() > 0);
        (0..MANY).for_each(|_| drop(p.on(&queue).try_get()));
        assert!(!is_broken, "the closure panics");
        drop(p.on(&stranger).get());
    };
    assert_eq!(manager.pipeline(|p| record(p, false)), Err(ObjectError::OtherManager));
    assert!(catch_unwind(AssertUnwindSafe(|| manager.pipeline(|p| record(p, true)))).is_err());
    assert_eq!(queue.len().unwrap(), 5_000);
    holder.set(&manager.value(&2).unwrap()).unwrap();
    // The queue, the sum, the holder and what is inside.
    until("the references are released", || manager.info().unwrap().objects == 4);
}

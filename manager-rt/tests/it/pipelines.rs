//! Pipelines of several threads that share the connection of a process.

use std::thread;
use std::time::{Duration, Instant};

use manager_rt::Manager;

/// A pipeline whose answers another thread has read must not sleep until its deadline of 30 seconds.
#[test]
fn pipelines_and_calls_of_many_threads_leave_no_answer_behind() {
    const ROUNDS: u32 = 60;
    let manager = Manager::start().unwrap();
    let dict = manager.dict::<u64, u64>().unwrap();
    let started = Instant::now();
    thread::scope(|scope| {
        for base in 0..4 {
            let (manager, dict) = (&manager, &dict);
            scope.spawn(move || {
                for round in 0..u64::from(ROUNDS) {
                    let keys = || (0..1_500).map(|key| base * 10_000 + key);
                    let done = manager
                        .pipeline(|p| keys().map(|key| p.on(dict).insert(&key, &round)).collect::<Vec<_>>())
                        .unwrap();
                    assert!(done.into_iter().all(|answer| answer.is_ok()));
                }
            });
        }
        for _ in 0..3 {
            scope.spawn(|| (0..ROUNDS * 200).for_each(|_| assert!(dict.len().is_ok())));
        }
    });
    assert!(started.elapsed() < Duration::from_secs(25), "a thread slept until its deadline");
}

//! Pools: initializers, jobs, iterators, settings, and ends.

use std::os::fd::AsFd;
use std::time::Duration;

use mp::{Event, ExitError, Method, Pool, PoolBuilder, PoolError, RawValue, TaskError, Value};
use mp_sys::testing::{PATIENCE, hang, tests};

use crate::METHODS;
use crate::pools::{be_quiet, pool, two};

tests! {
    an_initializer_makes_the_function,
    an_initializer_that_panics_ends_the_pool,
    endless_items_are_taken_as_they_are_needed,
    results_come_as_they_are_ready,
    jobs_are_waited_for_and_cancelled,
    a_job_is_waited_for_beside_a_pipe,
    a_worker_ends_after_its_number_of_items,
    what_cannot_travel_is_an_error_of_its_item,
    a_pool_belongs_to_its_process,
    settings_at_their_limits,
    a_dropped_pool_leaves_no_process,
    a_pool_takes_as_many_descriptors_as_it_says,
    a_large_result_arrives_whole,
    a_pool_in_a_loop_of_its_owner,
}

fn an_initializer_makes_the_function() {
    for method in METHODS {
        let total = Value::new(0_u64).unwrap();
        let starts = RawValue::new(0_u32).unwrap();
        let initializer = |(total, starts, base): (Value<u64>, RawValue<u32>, u64)| {
            starts.fetch_add(1);
            let mut calls = 0_u64;
            move |n: u64| {
                calls += 1;
                total.update(|total| total + n).unwrap();
                (base + n, calls)
            }
        };
        let args = (total.clone(), starts.clone(), 100);
        let pool = two().method(method).chunk(1).start_with(initializer, args).unwrap();
        let results = pool.map(0..50_u64).unwrap();
        assert_eq!(results.iter().map(|result| result.0).collect::<Vec<_>>(), (100..150).collect::<Vec<_>>());
        pool.close().unwrap();
        assert_eq!((total.get(), starts.load()), (Ok((0..50).sum()), 2), "{method:?}");
    }
}

fn an_initializer_that_panics_ends_the_pool() {
    be_quiet();
    let initializer = |text: String| {
        assert!(text.is_empty(), "no model in {text}");
        |n: u32| n
    };
    let pool =
        two().method(Method::Fork).crashes(4).start_with(initializer, "the folder".to_owned()).unwrap();
    match pool.map([1]).unwrap_err() {
        PoolError::Crashes { crashes: 4, end: ExitError::Panicked(message), item: None } => {
            assert_eq!(message, "no model in the folder");
        }
        other => panic!("{other:?}"),
    }
}

fn endless_items_are_taken_as_they_are_needed() {
    let pool = pool(|n: u64| n + 1);
    let taken = std::cell::Cell::new(0_u64);
    let endless = (0..).inspect(|_| taken.set(taken.get() + 1));
    let some: Vec<u64> = pool.map_iter(endless).take(1000).map(|result| result.unwrap().unwrap()).collect();
    assert_eq!(some, (1..=1000).collect::<Vec<_>>());
    let most = 1000 + 2 * u64::try_from(mp::POOL_AHEAD_CHUNKS).unwrap() + 1;
    assert!(taken.get() <= most, "{} were taken", taken.get());
    // What was under way when the iterator was dropped disturbs nobody.
    assert_eq!(pool.map([7, 8]), Ok(vec![8, 9]));
    assert_eq!(pool.map_iter([0_u64; 10]).len(), 10);
    let ten: Vec<u64> = (0..10).collect();
    let mut iter = pool.map_iter(&ten);
    assert_eq!(iter.next(), Some(Ok(Ok(1))));
    assert_eq!(iter.len(), 9);
    // Two at a time.
    let mut other = pool.map_iter([100_u64]);
    assert_eq!((iter.next(), other.next(), other.next()), (Some(Ok(Ok(2))), Some(Ok(Ok(101))), None));
    assert_eq!(iter.map(|result| result.unwrap().unwrap()).collect::<Vec<_>>(), (3..=10).collect::<Vec<_>>());
}

fn results_come_as_they_are_ready() {
    let gate = RawValue::new(0_u32).unwrap();
    let work = |gate: RawValue<u32>| {
        move |n: u32| {
            while n == 0 && gate.load() == 0 {
                std::thread::yield_now();
            }
            n
        }
    };
    let pool = two().method(Method::Fork).chunk(1).start_with(work, gate.clone()).unwrap();
    let mut seen = Vec::new();
    for result in pool.map_unordered(0..20_u32) {
        let (index, value) = result.unwrap();
        assert_eq!(Ok(u32::try_from(index).unwrap()), value);
        seen.push(index);
        if seen.len() == 19 {
            gate.store(1);
        }
    }
    assert_eq!(seen.last(), Some(&0), "the first item is the last to be done");
    seen.sort_unstable();
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
}

fn jobs_are_waited_for_and_cancelled() {
    let (gate, begun) = (RawValue::new(0_u32).unwrap(), Event::new().unwrap());
    let work = |(gate, begun): (RawValue<u32>, Event)| {
        move |n: u32| {
            begun.set();
            while gate.load() == 0 {
                std::thread::yield_now();
            }
            n
        }
    };
    let args = (gate.clone(), begun.clone());
    let pool = Pool::builder().workers(1).method(Method::Fork).start_with(work, args).unwrap();
    let mut jobs = vec![pool.submit(0).unwrap()];
    assert!(begun.wait_timeout(PATIENCE));
    jobs.extend((1..5).map(|n| pool.submit(n).unwrap()));
    let first = &mut jobs[0];
    assert_eq!(first.wait_timeout(Duration::from_millis(1)), Ok(None));
    assert_eq!((first.is_done(), first.cancel()), (Ok(false), Ok(false)));
    assert_eq!(jobs[2].cancel(), Ok(true));
    assert_eq!(jobs[2].is_done(), Ok(true));
    drop(jobs.remove(3));
    gate.store(1);
    let results: Vec<_> = jobs.into_iter().map(mp::Job::wait).collect();
    let cancelled = PoolError::Task { index: 0, error: TaskError::Cancelled };
    assert_eq!(results, [Ok(0), Ok(1), Err(cancelled), Ok(4)]);
    let mut job = pool.submit(9).unwrap();
    assert_eq!(job.wait_timeout(PATIENCE), Ok(Some(9)));
    assert_eq!(job.wait_timeout(PATIENCE), Ok(None), "it was taken");
    assert_eq!(job.wait(), Err(PoolError::Task { index: 0, error: TaskError::Taken }));
    pool.close().unwrap();
}

fn a_job_is_waited_for_beside_a_pipe() {
    let (_tx, rx) = mp::pipe::<u32>().unwrap();
    let pool = pool(|n: u32| n + 1);
    let job = pool.submit(1).unwrap();
    while !job.is_done().unwrap() {
        assert_eq!(mp::wait([("job", &job as &dyn AsFd), ("pipe", &rx)], PATIENCE).unwrap(), ["job"]);
    }
    assert_eq!(job.wait(), Ok(2));
}

fn a_worker_ends_after_its_number_of_items() {
    let builder = || Pool::builder().workers(1).method(Method::Fork).chunk(1);
    for (limit, processes) in [(1, 10), (3, 4), (9, 2), (10, 1), (11, 1)] {
        let pool = builder().max_tasks_per_child(limit).start(|_: u32| mp::current_process().pid()).unwrap();
        let mut pids = pool.map(0..10_u32).unwrap();
        pids.dedup();
        assert_eq!(pids.len(), processes, "{limit}");
        assert_eq!(pool.health().unwrap().last_crash, None);
        pool.close().unwrap();
    }
}

#[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq)]
struct Skipped {
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<u32>,
}

fn what_cannot_travel_is_an_error_of_its_item() {
    let pool = pool(|skipped: Skipped| Skipped { part: skipped.part.filter(|part| *part < 5) });
    let items = [Skipped { part: Some(1) }, Skipped { part: None }, Skipped { part: Some(9) }];
    let results: Vec<_> = pool.map_iter(&items).map(Result::unwrap).collect();
    assert_eq!(results[0], Ok(Skipped { part: Some(1) }));
    assert!(matches!(&results[1], Err(TaskError::Argument(_))), "{results:?}");
    assert!(matches!(&results[2], Err(TaskError::Result(_))), "{results:?}");
}

fn a_pool_belongs_to_its_process() {
    let pool = pool(|n: u32| n);
    let child = mp::fork(|| {
        let errors = [pool.map([1]).map(|_| ()), pool.poll()];
        errors.map(|error| error == Err(PoolError::NotParent))
    });
    assert_eq!(child.unwrap().join(), Ok([true; 2]));
    assert_eq!(pool.map([1]), Ok(vec![1]));
}

fn settings_at_their_limits() {
    let start = |builder: PoolBuilder| builder.map(&[1_u32], |n| *n);
    assert_eq!(start(two().tries(1).crashes(1).chunk(1).max_tasks_per_child(1).workers(1)), Ok(vec![1]));
    assert_eq!(start(two().workers(mp::POOL_WORKERS_MAX)), Ok(vec![1]), "no more workers than items");
    let wrong = [
        two().workers(0),
        two().workers(mp::POOL_WORKERS_MAX + 1),
        two().chunk(0),
        two().tries(0),
        two().crashes(0),
        two().max_tasks_per_child(0),
        two().timeout(Duration::ZERO),
        two().name("x".repeat(mp::NAME_BYTES_MAX + 1)),
    ];
    for builder in wrong {
        let shown = format!("{builder:?}");
        let error = start(builder).unwrap_err();
        assert!(matches!(error, PoolError::Settings(_) | PoolError::Start(_)), "{shown}: {error:?}");
    }
}

fn a_pool_takes_as_many_descriptors_as_it_says() {
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    for method in METHODS {
        let taken = |workers: usize| {
            let before = open();
            let pool = two().workers(workers).method(method).start(|n: u32| n).unwrap();
            // Each worker has started.
            assert_eq!(pool.map(0..100), Ok((0..100).collect::<Vec<_>>()));
            open() - before
        };
        // The first one may start what stays, such as a fork server.
        taken(1);
        let each = if method == Method::Fork { 5 } else { 6 };
        assert_eq!([taken(1), taken(4)], [2 + each, 2 + 4 * each], "{method:?}");
    }
}

fn a_dropped_pool_leaves_no_process() {
    let pool = pool(|_: u32| -> () {
        loop {
            std::thread::park();
        }
    });
    let job = pool.submit(1).unwrap();
    assert_eq!(mp::active_children().len(), 2);
    drop(job);
    drop(pool);
    assert!(mp::active_children().is_empty());
}

fn a_large_result_arrives_whole() {
    let pool = pool(|len: usize| vec![7_u8; len]);
    for len in [0, 1, 32 << 10, 1 << 20, 20 << 20] {
        assert_eq!(pool.map([len]).unwrap()[0].len(), len);
    }
    assert_eq!(pool.map([1 << 20; 20]).unwrap().len(), 20);
}

fn a_pool_in_a_loop_of_its_owner() {
    for method in METHODS {
        let limit = Duration::from_millis(300);
        let builder = two().method(method).tries(1).timeout(limit);
        let pool = builder
            .start(|n: u32| -> u32 {
                if n == 0 { hang() } else { n + 1 }
            })
            .unwrap();
        assert!(mp::wait([&pool], Duration::ZERO).unwrap().is_empty(), "there is nothing to do");
        // A result, an end, and the time of an item: nothing else wakes the loop up.
        let mut late = pool.submit(0).unwrap();
        for n in 1..20 {
            let mut job = pool.submit(n).unwrap();
            while !job.is_done().unwrap() {
                assert_eq!(mp::wait([&pool], PATIENCE).unwrap(), [0], "{method:?}");
                pool.poll().unwrap();
            }
            assert_eq!(job.wait_timeout(Duration::ZERO), Ok(Some(n + 1)));
        }
        while !late.is_done().unwrap() {
            assert_eq!(mp::wait([&pool], PATIENCE).unwrap(), [0], "{method:?}");
            pool.poll().unwrap();
        }
        let error = TaskError::TimedOut(limit);
        assert_eq!(late.wait_timeout(Duration::ZERO), Err(PoolError::Task { index: 0, error }));
        drop(late);
        // The pool does not keep a fork from being made, and a child does not disturb it.
        let child = mp::fork(|| {
            pool.poll() == Err(PoolError::NotParent) && mp::wait([&pool], Duration::ZERO).is_ok()
        });
        assert_eq!(child.unwrap().join(), Ok(true));
        let before = mp::active_children();
        for worker in &before {
            worker.kill().unwrap();
        }
        while mp::active_children()
            .iter()
            .filter(|new| before.iter().all(|old| old.pid() != new.pid()))
            .count()
            < 2
        {
            assert_eq!(mp::wait([&pool], PATIENCE).unwrap(), [0], "{method:?}");
            pool.poll().unwrap();
        }
        assert_eq!(pool.map([5]), Ok(vec![6]));
        pool.close().unwrap();
        mp::release_unused_memory();
    }
}

//! Pools whose workers are stopped or hang between two items, and what else must not disturb a pool.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use mp::{ExitError, Method, POOL_ITEM_BYTES_MAX, Pool, PoolError, Process, RawValue, TaskError};
use mp_sys::deadline::TICK_MAX;
use mp_sys::testing::runner::skip;
use mp_sys::testing::{PATIENCE, eventually, hang, is_in_state, tests};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, kill_process_group, setpgid, setrlimit};

use crate::groups::send;
use crate::pools::{be_quiet, pool, two};

tests! {
    a_worker_that_is_stopped_between_items_is_replaced,
    an_initializer_that_hangs_ends_the_pool,
    a_stopped_worker_does_not_keep_a_pool_from_ending,
    a_result_is_not_kept_back_by_the_next_item,
    the_longest_arguments_and_results_and_one_byte_more,
    a_forked_child_does_not_disturb_the_pool,
    a_cancelled_job_leaves_others_in_their_order,
    a_cancelled_item_is_not_tried_again,
    a_crash_report_says_whether_a_core_was_written,
    the_time_during_which_a_program_is_stopped_does_not_count,
    a_stop_before_an_item_is_no_excuse_for_it,
    a_slow_iterator_does_not_delay_results,
    an_iterator_that_panics_loses_no_index,
}

/// Stops a process, and waits until it is stopped.
fn stop(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
    let options = rustix::process::WaitIdOptions::STOPPED | rustix::process::WaitIdOptions::NOWAIT;
    rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).unwrap();
}

fn a_worker_that_is_stopped_between_items_is_replaced() {
    let limit = Duration::from_millis(200);
    let pid_and = |n: u32| (mp::current_process().pid(), n);
    for workers in [1, 2] {
        let builder = Pool::builder().workers(workers).method(Method::Fork).timeout(limit);
        let pool = builder.chunk(1).start(pid_and).unwrap();
        let stopped = pool.map([0]).unwrap()[0].0;
        stop(stopped);
        let results = pool.map(0..20).unwrap();
        assert!(results.iter().map(|result| result.1).eq(0..20), "{results:?}");
        assert!(results.iter().all(|result| result.0 != stopped));
        let health = pool.health().unwrap();
        assert_eq!((health.alive, health.restarts), (workers, 1));
        pool.close().unwrap();
    }
}

fn an_initializer_that_hangs_ends_the_pool() {
    let hang = |(): ()| {
        loop {
            std::thread::park();
        }
        #[expect(unreachable_code, reason = "the type of what it would return")]
        |n: u32| n
    };
    let builder = two().method(Method::Fork).timeout(Duration::from_millis(50)).crashes(2);
    let pool = builder.start_with(hang, ()).unwrap();
    let error = pool.map([1, 2, 3]).unwrap_err();
    assert_eq!(error, PoolError::Crashes { crashes: 2, end: ExitError::Signaled(9), item: None });
    assert!(mp::active_children().is_empty());
}

fn a_stopped_worker_does_not_keep_a_pool_from_ending() {
    for is_closed in [false, true] {
        let builder = Pool::builder().workers(1).method(Method::Fork);
        let pool = builder.start(|(): ()| mp::current_process().pid()).unwrap();
        stop(pool.map([()]).unwrap()[0]);
        if is_closed {
            pool.close().unwrap();
        } else {
            drop(pool);
        }
        assert!(mp::active_children().is_empty());
    }
}

fn a_result_is_not_kept_back_by_the_next_item() {
    let gate = RawValue::new(0_u32).unwrap();
    let work = |gate: RawValue<u32>| {
        move |is_blocked: bool| {
            while is_blocked && gate.load() == 0 {
                std::thread::yield_now();
            }
        }
    };
    let builder = Pool::builder().workers(1).method(Method::Fork);
    let pool = builder.start_with(work, gate.clone()).unwrap();
    for _ in 0..20 {
        gate.store(0);
        let mut quick = pool.submit(false).unwrap();
        let blocked = pool.submit(true).unwrap();
        assert_eq!(quick.wait_timeout(PATIENCE), Ok(Some(())));
        gate.store(1);
        blocked.wait().unwrap();
    }
}

fn the_longest_arguments_and_results_and_one_byte_more() {
    // The length of the text has four bytes.
    let longest = POOL_ITEM_BYTES_MAX - 4;
    let lens = [1, longest, longest + 1, 2];
    let builder = || Pool::builder().workers(1).method(Method::Fork).chunk(lens.len());
    let pool = builder().start(|text: String| text.len()).unwrap();
    let texts = lens.map(|len| "x".repeat(len));
    let results: Vec<_> = pool.map_iter(&texts).map(Result::unwrap).collect();
    assert_eq!((&results[0], &results[1], &results[3]), (&Ok(1), &Ok(longest), &Ok(2)));
    assert!(matches!(&results[2], Err(TaskError::Argument(why)) if why.contains("POOL_ITEM_BYTES_MAX")));
    let refused = pool.submit(&texts[2]).map(drop);
    assert!(matches!(refused, Err(PoolError::Task { index: 0, error: TaskError::Argument(_) })));
    assert_eq!(pool.health().unwrap().restarts, 0);
    drop(texts);

    let pool = builder().start(|len: usize| "x".repeat(len)).unwrap();
    let results = pool.map_iter(lens).map(|result| result.unwrap().map(|text| text.len()));
    let results: Vec<_> = results.collect();
    assert_eq!((&results[0], &results[1], &results[3]), (&Ok(1), &Ok(longest), &Ok(2)));
    assert!(matches!(&results[2], Err(TaskError::Result(why)) if why.contains("POOL_ITEM_BYTES_MAX")));
    assert_eq!(pool.health().unwrap().restarts, 0);
}

fn a_forked_child_does_not_disturb_the_pool() {
    let gate = RawValue::new(1_u32).unwrap();
    let work = |gate: RawValue<u32>| {
        move |n: u32| {
            while gate.load() <= n {
                std::thread::yield_now();
            }
            n
        }
    };
    let builder = Pool::builder().workers(1).method(Method::Fork).chunk(1);
    let pool = builder.start_with(work, gate.clone()).unwrap();
    let other = Cell::new(Some(two().method(Method::Fork).start(|n: u32| n).unwrap()));
    let mut iter = pool.map_iter(0..6);
    assert_eq!(iter.next(), Some(Ok(Ok(0))));
    let iter = Cell::new(Some(iter));
    let job = RefCell::new(pool.submit(50).unwrap());
    // The worker has begun with the second item, and the third waits in its queue.
    let child = mp::fork(|| {
        drop(iter.take());
        let not_parent = Some(PoolError::NotParent);
        let errors = [
            job.borrow_mut().cancel().err(),
            pool.submit(1).err(),
            pool.health().err(),
            other.take().and_then(|other| other.close().err()),
        ];
        errors.map(|error| error == not_parent)
    });
    assert_eq!(child.unwrap().join(), Ok([true; 4]));
    gate.store(100);
    let rest: Vec<_> = iter.take().unwrap().map(|result| result.unwrap().unwrap()).collect();
    assert_eq!(rest, [1, 2, 3, 4, 5]);
    assert_eq!(job.into_inner().wait(), Ok(50));
    assert_eq!(pool.health().unwrap().restarts, 0);
    let other = other.take().unwrap();
    assert_eq!(other.map([1, 2, 3]), Ok(vec![1, 2, 3]));
    assert_eq!(other.health().unwrap().restarts, 0);
    other.close().unwrap();
}

fn a_cancelled_job_leaves_others_in_their_order() {
    let (gate, begun) = (RawValue::new(0_u32).unwrap(), RawValue::new(0_u32).unwrap());
    let work = |(gate, begun): (RawValue<u32>, RawValue<u32>)| {
        move |()| {
            let place = begun.fetch_add(1);
            while gate.load() == 0 {
                std::thread::yield_now();
            }
            place
        }
    };
    let wait_for = |count| {
        let deadline = Instant::now() + PATIENCE;
        while begun.load() < count {
            assert!(Instant::now() < deadline, "{} of {count} items are begun", begun.load());
            std::thread::yield_now();
        }
    };
    let builder = Pool::builder().workers(1).method(Method::Fork);
    let pool = builder.start_with(work, (gate.clone(), begun.clone())).unwrap();
    let mut jobs: Vec<_> = (0..6).map(|_| pool.submit(()).unwrap()).collect();
    wait_for(1);
    assert_eq!(jobs.remove(3).cancel(), Ok(true));
    gate.store(1);
    // The next one was handed out again by `cancel` itself.
    wait_for(2);
    let places: Vec<_> = jobs.into_iter().map(|job| job.wait().unwrap()).collect();
    assert_eq!(places, [0, 1, 2, 3, 4]);
}

fn a_cancelled_item_is_not_tried_again() {
    let begun = RawValue::new(0_u32).unwrap();
    let work = |begun: RawValue<u32>| {
        move |is_quick: bool| {
            begun.fetch_add(1);
            if !is_quick {
                hang()
            }
        }
    };
    let wait_for = |count| eventually("an item is begun", || begun.load() == count);
    let builder = Pool::builder().workers(1).method(Method::Fork);
    let pool = builder.start_with(work, begun.clone()).unwrap();
    let mut job = pool.submit(false).unwrap();
    wait_for(1);
    assert_eq!(job.cancel(), Ok(false));
    kill_workers();
    let crashed = TaskError::Crashed { end: ExitError::Signaled(9), tries: 1 };
    assert_eq!(job.wait(), Err(PoolError::Task { index: 0, error: crashed }));
    // The same for an iterator that is dropped: what is begun is not begun again, and nothing else is begun.
    let mut iter = pool.map_iter([true, false, true, true]);
    assert_eq!(iter.next(), Some(Ok(Ok(()))));
    wait_for(3);
    drop(iter);
    kill_workers();
    assert_eq!(pool.submit(true).unwrap().wait(), Ok(()));
    assert_eq!(begun.load(), 4);
}

fn a_crash_report_says_whether_a_core_was_written() {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::env::set_current_dir(&folder).unwrap();
    if !pattern.trim_start_matches("./").starts_with(|c: char| c.is_ascii_alphabetic()) {
        skip(format!("the cores of this machine are not files in the folder of a process: {pattern}"));
    }
    let Rlimit { maximum, .. } = getrlimit(Resource::Core);
    if maximum == Some(0) {
        skip("cores are forbidden here");
    }
    let bug = |core: u64| -> () {
        setrlimit(Resource::Core, Rlimit { current: Some(core), maximum: Some(core) }).unwrap();
        std::process::abort()
    };
    for method in crate::METHODS {
        let pool = Pool::builder().workers(1).tries(1).method(method).start(bug).unwrap();
        for core in [0, 1 << 24] {
            pool.submit(core).unwrap().wait().unwrap_err();
            let crash = pool.health().unwrap().last_crash.unwrap();
            assert_eq!((crash.signal(), crash.core_dumped), (Some(6), core > 0), "{method:?}");
        }
        drop(pool);
        // The fork server keeps its folder until it ends.
        mp::release_unused_memory();
    }
    std::env::set_current_dir("/").unwrap();
}

fn the_time_during_which_a_program_is_stopped_does_not_count() {
    for method in [Method::Fork, Method::Spawn] {
        let [begun, looks, gate] = [(); 3].map(|()| RawValue::new(0_u32).unwrap());
        let limit = Duration::from_secs(2);
        let program = Process::new().die_with_parent(true).fork(|| {
            setpgid(None, None).unwrap();
            let work = |(begun, gate): (RawValue<u32>, RawValue<u32>)| {
                move |n: u32| {
                    begun.store(mp::current_process().pid());
                    while gate.load() == 0 {
                        std::thread::sleep(TICK_MAX);
                    }
                    n
                }
            };
            let builder = Pool::builder().workers(1).tries(1).method(method).timeout(limit);
            let pool = builder.start_with(work, (begun.clone(), gate.clone())).unwrap();
            let mut job = pool.submit(7).unwrap();
            let result = loop {
                looks.fetch_add(1);
                if let Some(result) = job.wait_timeout(TICK_MAX).transpose() {
                    break result;
                }
            };
            (result.map_err(|error| error.to_string()), pool.health().unwrap().restarts)
        });
        let program = program.unwrap();
        eventually("an item is begun", || begun.load() != 0);
        let group = rustix::process::Pid::from_raw(i32::try_from(program.pid()).unwrap()).unwrap();
        kill_process_group(group, Signal::STOP).unwrap();
        for pid in [program.pid(), begun.load()] {
            eventually("it is stopped", || is_in_state(pid, 'T'));
        }
        let before = looks.load();
        std::thread::sleep(limit + TICK_MAX);
        kill_process_group(group, Signal::CONT).unwrap();
        eventually("the pool has looked at the clock", || looks.load() > before + 1);
        gate.store(1);
        assert_eq!(program.join(), Ok((Ok(7), 0)), "{method:?}");
    }
}

fn kill_workers() {
    for child in mp::active_children() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// Once in an idle worker, and once in one that has the item already, behind another one.
fn a_stop_before_an_item_is_no_excuse_for_it() {
    let limit = Duration::from_secs(2);
    let begin = |gate: RawValue<bool>| {
        move |hangs: bool| {
            eventually("the gate is open", || gate.load());
            if hangs { hang() } else { mp::current_process().pid() }
        }
    };
    for is_idle in [true, false] {
        let gate = RawValue::new(is_idle).unwrap();
        let builder = Pool::builder().workers(1).method(Method::Fork).tries(1).timeout(limit);
        let pool = builder.start_with(begin, gate.clone()).unwrap();
        let worker = mp::active_children()[0].pid();
        let first = pool.submit(false).unwrap();
        let (mut first, mut late) = (Some(first), None);
        if is_idle {
            assert_eq!(first.take().unwrap().wait(), Ok(worker));
        } else {
            late = Some(pool.submit(true).unwrap());
        }
        stop(worker);
        send(worker, Signal::CONT);
        gate.store(true);
        if let Some(first) = first {
            assert_eq!(first.wait(), Ok(worker));
        }
        let late = late.unwrap_or_else(|| pool.submit(true).unwrap());
        // It has the limit once, and not twice.
        let clock = mp::fork(|| std::thread::sleep(limit * 3 / 2)).unwrap();
        loop {
            let is_over = !clock.is_alive().unwrap();
            if late.is_done().unwrap() {
                break;
            }
            assert!(!is_over, "the time counts from the stop on, in an idle worker: {is_idle}");
            std::thread::yield_now();
        }
        let error = TaskError::TimedOut(limit);
        assert_eq!(late.wait(), Err(PoolError::Task { index: 0, error }));
        clock.join().unwrap();
    }
}

fn a_slow_iterator_does_not_delay_results() {
    let done = RawValue::new(0_u32).unwrap();
    let work = |done: RawValue<u32>| {
        move |n: u32| {
            done.fetch_add(1);
            n
        }
    };
    let pool = two().method(Method::Fork).chunk(1).start_with(work, done.clone()).unwrap();
    let asked = Cell::new(0_u32);
    let items = (0..10).inspect(|n| {
        asked.set(n + 1);
        // The items before this one are begun while the iterator makes this one.
        let deadline = Instant::now() + PATIENCE;
        while done.load() < *n {
            assert!(Instant::now() < deadline, "item {n} is made, and only {} are done", done.load());
            std::thread::yield_now();
        }
        std::thread::sleep(TICK_MAX * 2);
    });
    let mut results = pool.map_iter(items);
    assert_eq!(results.next(), Some(Ok(Ok(0))));
    assert!(asked.get() <= 4, "{} items were made before the first result", asked.get());
    assert!(results.map(|result| result.unwrap().unwrap()).eq(1..10));
}

fn an_iterator_that_panics_loses_no_index() {
    be_quiet();
    let pool = pool(|n: u32| n);
    let items = (0..20_u32).inspect(|n| assert!(*n != 7, "the case"));
    let mut results = pool.map_iter(items);
    let mut all = Vec::new();
    let mut panics = 0;
    for _ in 0..30 {
        match catch_unwind(AssertUnwindSafe(|| results.next())) {
            Ok(Some(result)) => all.push(result.unwrap().unwrap()),
            Ok(None) => break,
            Err(_) => panics += 1,
        }
    }
    assert_eq!((panics, results.next()), (1, None));
    // What was taken for the chunk of the seventh item is lost with it.
    assert!(all.is_sorted() && all.contains(&19) && !all.contains(&7), "{all:?}");
}

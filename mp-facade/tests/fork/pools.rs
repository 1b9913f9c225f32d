//! Pools whose workers end in every way.

use std::time::{Duration, Instant};

use mp::{Crash, ExitError, Method, Pool, PoolBuilder, PoolError, RawArray, RawValue, TaskError};
use mp_sys::testing::{PATIENCE, tests};

use crate::METHODS;

tests! {
    a_map_returns_the_results_in_order,
    a_map_of_a_closure_has_what_it_captures,
    a_panic_is_an_error_of_its_item,
    an_item_whose_worker_ends_is_tried_again,
    an_item_that_ends_every_worker_is_reported,
    items_beside_one_that_crashes_are_done,
    a_worker_that_is_stopped_is_killed_at_its_time,
    one_item_in_a_hundred_may_end_its_workers,
    ten_thousand_items_with_every_kind_of_end,
    ten_thousand_items_in_spawned_workers,
    ten_thousand_items_in_workers_of_the_fork_server,
    too_many_crashes_end_the_pool,
    a_slow_item_does_not_keep_others_waiting,
}

pub(crate) fn pool<A, R>(worker: fn(A) -> R) -> Pool<A, R>
where
    A: serde::de::DeserializeOwned + 'static,
    R: serde::Serialize + serde::de::DeserializeOwned + 'static,
{
    Pool::builder().workers(2).method(Method::Fork).start(worker).unwrap()
}

pub(crate) fn two() -> PoolBuilder {
    Pool::builder().workers(2)
}

pub(crate) fn end_by(signal: i32) {
    let own = i32::try_from(mp::current_process().pid()).unwrap();
    let pid = rustix::process::Pid::from_raw(own).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::from_named_raw(signal).unwrap()).unwrap();
}

#[expect(clippy::exit, reason = "the case")]
fn exit(code: i32) {
    std::process::exit(code)
}

/// Says nothing when an item panics.
pub(crate) fn be_quiet() {
    std::panic::set_hook(Box::new(|_| {}));
}

fn a_map_returns_the_results_in_order() {
    for method in METHODS {
        let pool = two().method(method).start(|n: u64| n * n).unwrap();
        for len in [0, 1, 2, 3, 1000] {
            let items: Vec<u64> = (0..len).collect();
            let squares: Vec<u64> = items.iter().map(|n| n * n).collect();
            assert_eq!(pool.map(&items), Ok(squares), "{method:?}, {len} items");
        }
        let health = pool.health().unwrap();
        assert_eq!((health.alive, health.workers, health.restarts, health.last_crash), (2, 2, 0, None));
        pool.close().unwrap();
    }
    assert!(mp::active_children().is_empty());
}

fn a_map_of_a_closure_has_what_it_captures() {
    let words: Vec<String> = (0..500).map(|n| format!("word {n}")).collect();
    let calls = RawValue::new(0_u64).unwrap();
    let lengths = mp::map(&words, |word| {
        calls.fetch_add(1);
        (word.len(), words.len())
    });
    assert_eq!(lengths.unwrap(), words.iter().map(|word| (word.len(), 500)).collect::<Vec<_>>());
    assert_eq!(calls.load(), 500);
    assert_eq!(mp::map(&[], |n: &u8| *n), Ok(Vec::new()));
    for chunk in [1, 7, 500, 501] {
        let lengths = two().chunk(chunk).map(&words, |word| word.len()).unwrap();
        assert_eq!(lengths, words.iter().map(String::len).collect::<Vec<_>>(), "{chunk}");
    }
    assert!(mp::active_children().is_empty(), "the processes end with the call");
}

fn a_panic_is_an_error_of_its_item() {
    be_quiet();
    let items: Vec<u32> = (0..100).collect();
    let results = two().map_each(&items, |n| if n % 10 == 3 { panic!("no {n}") } else { *n }).unwrap();
    for (n, result) in (0..).zip(results) {
        let expected = if n % 10 == 3 { Err(TaskError::Panicked(format!("no {n}"))) } else { Ok(n) };
        assert_eq!(result, expected);
    }
    let error = two().map(&items, |n| assert!(*n < 60)).unwrap_err();
    assert!(matches!(error, PoolError::Task { index: 60, error: TaskError::Panicked(_) }), "{error:?}");
    // The workers go on.
    let pool = pool(|n: u32| assert!(n != 1));
    assert!(pool.map([1]).is_err());
    assert_eq!(pool.map([2, 3]), Ok(vec![(), ()]));
    assert_eq!(pool.health().unwrap().restarts, 0);
}

fn an_item_whose_worker_ends_is_tried_again() {
    let tries = RawArray::<u32>::zeroed(60).unwrap();
    let items: Vec<usize> = (0..60).collect();
    let ends = [|| end_by(9), || end_by(6), || end_by(8), || exit(0), || exit(3)];
    let results = two().map(&items, |n| {
        let earlier = tries.fetch_add(*n, 1).unwrap();
        if n % 6 < ends.len() && earlier < 2 {
            ends[n % 6]();
        }
        earlier
    });
    let expected: Vec<u32> = (0..60).map(|n| if n % 6 < 5 { 2 } else { 0 }).collect();
    let results = results.unwrap();
    for (n, (result, expected)) in results.into_iter().zip(expected).enumerate() {
        // An item that is not the cause may be done again, if its result was not sent yet.
        assert!(result >= expected, "item {n}: {result} instead of {expected}");
    }
}

fn an_item_that_ends_every_worker_is_reported() {
    for method in METHODS {
        let pool = two()
            .method(method)
            .tries(2)
            .start(|n: u32| {
                if n == 5 {
                    end_by(6);
                }
            })
            .unwrap();
        let results: Vec<_> = pool.map_iter(0..10_u32).map(Result::unwrap).collect();
        for (n, result) in results.into_iter().enumerate() {
            let crashed = TaskError::Crashed { end: ExitError::Signaled(6), tries: 2 };
            assert_eq!(result, if n == 5 { Err(crashed) } else { Ok(()) }, "{method:?}");
        }
        let health = pool.health().unwrap();
        assert_eq!((health.workers, health.restarts), (2, 2));
        let Crash { end, item, .. } = health.last_crash.unwrap();
        assert_eq!((end, item), (ExitError::Signaled(6), Some(5)));
    }
}

fn items_beside_one_that_crashes_are_done() {
    let items: Vec<usize> = (0..300).collect();
    for bad in [0, 1, 149, 150, 299] {
        let calls = RawArray::<u32>::zeroed(items.len()).unwrap();
        let results = two().tries(1).chunk(150).map_each(&items, |n| {
            calls.fetch_add(*n, 1).unwrap();
            if *n == bad {
                end_by(9);
            }
            *n
        });
        for (n, result) in results.unwrap().into_iter().enumerate() {
            let crashed = TaskError::Crashed { end: ExitError::Signaled(9), tries: 1 };
            assert_eq!(result, if n == bad { Err(crashed) } else { Ok(n) }, "{bad}");
        }
        assert_eq!(calls.get(bad), Ok(1));
    }
}

fn a_worker_that_is_stopped_is_killed_at_its_time() {
    let limit = Duration::from_millis(300);
    let results = two().timeout(limit).map_each(&[0_u32, 1, 2, 3, 4, 5], |n| {
        match n {
            1 => end_by(19),
            3 => loop {
                std::thread::park();
            },
            _ => {}
        }
        *n
    });
    let expected = (0..6).map(|n| if n % 2 == 1 && n < 5 { Err(TaskError::TimedOut(limit)) } else { Ok(n) });
    assert_eq!(results.unwrap(), expected.collect::<Vec<_>>());
}

/// Crashes at many items at once, and again and again, do not end a pool that has results.
fn one_item_in_a_hundred_may_end_its_workers() {
    fn often(n: u32) -> u32 {
        if n % 100 == 13 {
            end_by(9);
        }
        n
    }
    let items: Vec<u32> = (0..5_000).collect();
    let crashed = || TaskError::Crashed { end: ExitError::Signaled(9), tries: mp::POOL_TRIES_DEFAULT };
    let expected: Vec<_> =
        items.iter().map(|n| if n % 100 == 13 { Err(crashed()) } else { Ok(*n) }).collect();
    for workers in [1, 3, 8] {
        let builder = Pool::builder().workers(workers);
        assert_eq!(
            builder.clone().map_each(&items, |n| often(*n)),
            Ok(expected.clone()),
            "{workers} workers"
        );
        let pool = builder.method(Method::Fork).start(often).unwrap();
        let results: Result<Vec<_>, _> = pool.map_iter(&items).collect();
        assert_eq!(results, Ok(expected.clone()), "{workers} workers that stay");
    }
    assert!(mp::active_children().is_empty());
}

/// What becomes of each of the items: 1 % each abort, panic, exit and are killed, and 0.1 % stop their process.
fn fate(n: u32) -> u32 {
    match n % 100 {
        13 => end_by(6),
        37 => {
            be_quiet();
            panic!("item {n}")
        }
        59 => exit(7),
        83 => end_by(9),
        97 if n % 1000 == 97 => end_by(19),
        _ => {}
    }
    n * 2
}

/// Each item is reported once, with what became of it: in order, or as they come.
fn ten_thousand_items(method: Method) {
    const LIMIT: Duration = Duration::from_millis(500);
    let start = Instant::now();
    let builder = two().method(method).timeout(LIMIT);
    // With default settings where starts are cheap.
    let tries = if method == Method::Fork { mp::POOL_TRIES_DEFAULT } else { 1 };
    let results: Vec<_> = if method == Method::Fork {
        let items: Vec<u32> = (0..10_000).collect();
        builder.map_each(&items, |n| fate(*n)).unwrap()
    } else {
        let pool = builder.tries(tries).start(fate).unwrap();
        let mut results: Vec<_> = pool.map_unordered(0..10_000_u32).collect::<Result<_, _>>().unwrap();
        results.sort_by_key(|(index, _)| *index);
        assert!(results.iter().map(|(index, _)| *index).eq(0..10_000), "each item once");
        results.into_iter().map(|(_, result)| result).collect()
    };
    assert_eq!(results.len(), 10_000);
    for (n, result) in (0..).zip(results) {
        let crashed = |end| Err(TaskError::Crashed { end, tries });
        let expected = match n % 100 {
            13 => crashed(ExitError::Signaled(6)),
            37 => Err(TaskError::Panicked(format!("item {n}"))),
            59 => crashed(ExitError::Exited(7)),
            83 => crashed(ExitError::Signaled(9)),
            97 if n % 1000 == 97 => Err(TaskError::TimedOut(LIMIT)),
            _ => Ok(n * 2),
        };
        assert_eq!(result, expected, "item {n}");
    }
    assert!(start.elapsed() < PATIENCE * 3);
    assert!(mp::active_children().is_empty());
}

fn ten_thousand_items_with_every_kind_of_end() {
    ten_thousand_items(Method::Fork);
}

fn ten_thousand_items_in_spawned_workers() {
    ten_thousand_items(Method::Spawn);
}

fn ten_thousand_items_in_workers_of_the_fork_server() {
    ten_thousand_items(Method::ForkServer);
    mp::release_unused_memory();
}

fn too_many_crashes_end_the_pool() {
    let items: Vec<u32> = (0..10).collect();
    let crash = || two().workers(1).tries(2).crashes(3).map(&items, |_| end_by(6));
    let error = crash().unwrap_err();
    // The second try of an item says nothing new.
    assert_eq!(error, PoolError::Crashes { crashes: 3, end: ExitError::Signaled(6), item: Some(2) });
    // But no item is tried for ever: the first try counts, and those after the third.
    let calls = RawValue::new(0_u32).unwrap();
    let endless = two().workers(1).tries(u32::MAX).crashes(3).map(&[()], |()| {
        calls.fetch_add(1);
        end_by(6);
    });
    assert_eq!(endless, Err(PoolError::Crashes { crashes: 3, end: ExitError::Signaled(6), item: Some(0) }));
    assert_eq!(calls.load(), 5);
    // A result begins a new count: at the limit, and one above it.
    let items: Vec<u32> = (0..9).collect();
    let every_third = |crashes| {
        two().workers(1).tries(1).crashes(crashes).map_each(&items, |n| {
            if n % 3 != 2 {
                end_by(9);
            }
            // The result of an item that takes so long is sent at once.
            std::thread::sleep(mp_sys::deadline::TICK_MAX * 2);
        })
    };
    assert!(every_third(3).is_ok());
    assert!(matches!(every_third(2), Err(PoolError::Crashes { crashes: 2, .. })));
    // A pool that has ended returns the same error from then on.
    let pool = Pool::builder().workers(1).method(Method::Fork).crashes(1).start(|_: u32| end_by(9)).unwrap();
    let job = pool.submit(1).unwrap();
    let error = job.wait().unwrap_err();
    assert!(matches!(error, PoolError::Crashes { crashes: 1, item: Some(0), .. }), "{error:?}");
    assert_eq!(pool.map([1]).unwrap_err(), error);
    assert_eq!(pool.health().unwrap_err(), error);
    {
        let mut ordered = pool.map_iter([1, 2]);
        assert_eq!((ordered.len(), ordered.next()), (2, Some(Err(error.clone()))));
        assert_eq!((ordered.next(), ordered.len()), (None, 0));
        let mut unordered = pool.map_unordered([1, 2]);
        assert_eq!((unordered.next(), unordered.len()), (Some(Err(error.clone())), 0));
    }
    assert!(format!("{pool:?}").starts_with("Pool(ended: Crashes"), "{pool:?}");
    assert!(mp::active_children().is_empty());
    assert_eq!(pool.close(), Err(error));
}

fn a_slow_item_does_not_keep_others_waiting() {
    let done = RawValue::new(0_u32).unwrap();
    let items: Vec<u32> = (0..2000).collect();
    // Many short ones first, so that chunks are handed out far ahead.
    let results = two().chunk(1).map(&items, |n| {
        if *n == 1000 {
            // All others can be done while this one waits.
            while done.load() < 1999 {
                std::thread::yield_now();
            }
        }
        done.fetch_add(1);
        *n
    });
    assert_eq!(results, Ok(items));
}

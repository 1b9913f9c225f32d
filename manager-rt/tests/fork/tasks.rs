//! Async tasks of two processes, whose calls are dropped at random moments, and a server that is killed under them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use manager_rt::{
    CallError, Condition, Event, GetError, JoinableQueue, List, Lock, LockError, Manager, ObjectError, Queue,
    Semaphore, TaskGuard, Value,
};
use mp_sys::testing::{PATIENCE, Random, spawn, succeeded_with_work, tests};
use rustix::process::Signal;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::fixture::{Place, until, with_manager};

tests! {
    tasks_of_two_processes_whose_calls_are_dropped,
    a_killed_server_ends_the_calls_of_all_tasks,
    dropping_a_manager_leaves_nothing_in_a_runtime,
}

/// The tasks of each of the two processes.
const TASKS: u64 = 32;
const OPERATIONS: u64 = 10_000;
/// How long a call is awaited before it is dropped.
const WAIT_NANOS_MAX: u64 = 1_000_000;

fn runtimes() -> [Runtime; 2] {
    [
        Builder::new_current_thread().enable_all().build().unwrap(),
        Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
    ]
}

/// What all processes share.
#[derive(Clone)]
struct Shared {
    items: Queue<u64>,
    tasks: JoinableQueue<u64>,
    permits: Semaphore,
    lock: Lock,
    guarded: Value<u64>,
    changed: Condition,
    event: Event,
    reports: List<Report>,
}

impl Shared {
    fn new(manager: &Manager) -> Self {
        let named = |name| manager.named(name);
        Self {
            items: named("items").queue().unwrap(),
            tasks: named("tasks").joinable_queue_with(0, 1_000_000).unwrap(),
            permits: named("permits").semaphore(2).unwrap(),
            lock: named("lock").lock().unwrap(),
            guarded: named("guarded").value(&0).unwrap(),
            changed: named("changed").condition().unwrap(),
            event: named("event").event().unwrap(),
            reports: named("reports").list().unwrap(),
        }
    }
}

/// What one task did.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Report {
    put: Vec<u64>,
    /// The call was dropped before it was confirmed.
    maybe_put: Vec<u64>,
    got: Vec<u64>,
    tasks_put: Vec<u64>,
    tasks_maybe_put: Vec<u64>,
    tasks_done: Vec<u64>,
    tasks_maybe_done: Vec<u64>,
    guarded: u64,
}

/// Awaits a call, and drops it at a random moment unless it is ready by then.
async fn dropped<F: Future>(call: F, random: &mut Random) -> Option<F::Output> {
    match random.below(4) {
        0 => None,
        1 => timeout(Duration::from_nanos(random.below(WAIT_NANOS_MAX)), call).await.ok(),
        // Until the answer may be here.
        2 => timeout(Duration::from_micros(50), call).await.ok(),
        _ => timeout(PATIENCE, call).await.ok(),
    }
}

/// As [`dropped`], for a call that may wait for ever.
async fn dropped_soon<F: Future>(call: F, random: &mut Random) -> Option<F::Output> {
    let nanos = random.below(WAIT_NANOS_MAX);
    if nanos.is_multiple_of(4) {
        return None;
    }
    timeout(Duration::from_nanos(nanos), call).await.ok()
}

async fn operate(shared: &Shared, id: u64, report: &mut Report, random: &mut Random) {
    match random.below(8) {
        0 | 1 => match dropped(shared.items.put_async(&id), random).await {
            Some(put) => {
                put.unwrap();
                report.put.push(id);
            }
            None => report.maybe_put.push(id),
        },
        2 | 3 => {
            if let Some(got) = dropped_soon(shared.items.get_async(), random).await {
                report.got.push(got.unwrap());
            }
        }
        4 => match dropped(shared.tasks.put_async(&id), random).await {
            Some(put) => {
                put.unwrap();
                report.tasks_put.push(id);
            }
            None => report.tasks_maybe_put.push(id),
        },
        5 => {
            if let Some(task) = dropped_soon(shared.tasks.get_async(), random).await {
                let task = task.unwrap();
                let id = *task;
                match dropped(task.done_async(), random).await {
                    Some(done) => report.tasks_done.push(done.unwrap()),
                    None => report.tasks_maybe_done.push(id),
                }
            }
        }
        6 => {
            if let Some(permit) = dropped_soon(shared.permits.acquire_async(), random).await {
                let _permit = permit.unwrap();
                tokio::task::yield_now().await;
            }
        }
        _ => under_the_lock(shared, report, random).await,
    }
}

async fn under_the_lock(shared: &Shared, report: &mut Report, random: &mut Random) {
    let Some(locked) = dropped_soon(shared.lock.lock_async(), random).await else { return };
    let held: TaskGuard<'_> = locked.map_err(LockError::discard).unwrap();
    // These are two calls, between which nobody else may change anything.
    let number = shared.guarded.get_async().await.unwrap();
    shared.guarded.set_async(&(number + 1)).await.unwrap();
    report.guarded += 1;
    match random.below(3) {
        0 => drop(dropped_soon(shared.changed.wait_async(held), random).await),
        1 => {
            shared.changed.notify_async(1).await.unwrap();
            drop(held);
            shared.event.set_async().await.unwrap();
        }
        _ => {
            drop(held);
            if dropped_soon(shared.event.wait_async(), random).await.is_some() {
                shared.event.clear_async().await.unwrap();
            }
        }
    }
}

/// Runs the tasks of one process.
fn run(shared: &Shared, process: u64, runtime: &Runtime, seed: u64) {
    runtime.block_on(async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let shared = shared.clone();
                tokio::spawn(async move {
                    let mut random = Random::seeded(seed.wrapping_add(task));
                    let mut report = Report::default();
                    for number in 0..OPERATIONS {
                        let id = process << 60 | task << 32 | number;
                        operate(&shared, id, &mut report, &mut random).await;
                    }
                    shared.reports.push_async(&report).await.unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

fn tasks_of_two_processes_whose_calls_are_dropped() {
    with_manager(|manager| {
        let mut random = Random::new();
        println!("MP_SEED={}", random.seed());
        let shared = Shared::new(manager);
        let seeds = [random.below(u64::MAX), random.below(u64::MAX)];
        let crew: Vec<_> = (0..2_u64)
            .map(|process| {
                spawn(|| {
                    let place = usize::try_from(process).unwrap();
                    run(&shared, process, &runtimes()[place], seeds[place]);
                })
            })
            .collect();
        crew.iter().for_each(succeeded_with_work);
        until(manager, "nothing is left of the processes", |info| {
            (info.clients, info.waiters, info.held) == (1, 0, 0)
        });
        check(&shared);
    });
}

/// Adds all to a set, and checks that none was in it before.
fn once(what: &str, seen: &mut HashSet<u64>, all: impl IntoIterator<Item = u64>) {
    all.into_iter().for_each(|id| assert!(seen.insert(id), "{what}: {id:x} twice"));
}

fn check(shared: &Shared) {
    let reports = shared.reports.to_vec().unwrap();
    assert_eq!(reports.len(), usize::try_from(2 * TASKS).unwrap());
    let all = |of: fn(&Report) -> &Vec<u64>| reports.iter().flat_map(of).copied();
    let mut items = HashSet::new();
    once("got", &mut items, all(|report| &report.got));
    let got = items.len();
    while let Ok(left) = shared.items.get_many_timeout(60_000, Duration::ZERO) {
        once("left", &mut items, left);
    }
    let (put, maybe): (HashSet<_>, HashSet<_>) =
        (all(|report| &report.put).collect(), all(|report| &report.maybe_put).collect());
    println!("items: {} put, {} perhaps, {got} got, {} in all", put.len(), maybe.len(), items.len());
    assert!(put.is_subset(&items), "an item is lost");
    assert!(items.iter().all(|id| put.contains(id) || maybe.contains(id)));
    assert!(got > 0 && !maybe.is_empty());

    let mut tasks = HashSet::new();
    once("done", &mut tasks, all(|report| &report.tasks_done));
    let done = tasks.len();
    loop {
        match shared.tasks.try_get() {
            Ok(task) => once("left", &mut tasks, [task.done().unwrap()]),
            Err(error) => break assert_eq!(error, GetError::Empty),
        }
    }
    let maybe: HashSet<_> = all(|report| &report.tasks_maybe_done).collect();
    println!("tasks: {done} done, {} perhaps, {} in all", maybe.len(), tasks.len());
    let lost = all(|report| &report.tasks_put).find(|id| !tasks.contains(id) && !maybe.contains(id));
    assert_eq!(lost, None, "a task is lost");
    assert_eq!((shared.tasks.unfinished(), shared.tasks.failed()), (Ok(0), Ok(vec![])));
    assert!(done > 0);

    let guarded: u64 = reports.iter().map(|report| report.guarded).sum();
    println!("changed under the lock: {guarded}");
    assert_eq!((shared.guarded.get(), shared.permits.available()), (Ok(guarded), Ok(2)));
    assert!(guarded > 0);
}

/// Tells whether a call failed because the server is gone.
fn is_gone(error: CallError) -> bool {
    matches!(error, CallError::ServerGone | CallError::OutcomeUnknown)
}

fn a_killed_server_ends_the_calls_of_all_tasks() {
    for runtime in runtimes() {
        let manager = Manager::start().unwrap();
        let place = Place::of(&manager);
        let (value, queue) = (manager.value(&0_u64).unwrap(), manager.queue::<u64>().unwrap());
        let (lock, event) = (manager.lock().unwrap(), manager.event().unwrap());
        runtime.block_on(async {
            let held = lock.lock_async().await.map_err(LockError::discard).unwrap();
            let is_lost = Arc::new(AtomicBool::new(false));
            let lost = Arc::clone(&is_lost);
            held.on_lost(move || lost.store(true, Ordering::Release));
            let mut tasks = Vec::new();
            for number in 0..300 {
                let (value, queue, event) = (value.clone(), queue.clone(), event.clone());
                tasks.push(tokio::spawn(async move {
                    match number % 3 {
                        0 => loop {
                            value.set_async(&0).await?;
                        },
                        1 => event.wait_async().await,
                        _ => match queue.get_async().await {
                            Err(GetError::Object(error)) => Err(error),
                            other => panic!("{other:?}"),
                        },
                    }
                }));
            }
            for _ in 0..100 {
                value.get_async().await.unwrap();
            }
            place.signal(Signal::KILL);
            for task in tasks {
                let ended = timeout(PATIENCE, task).await.expect("each call ends").unwrap();
                assert!(matches!(ended, Err(ObjectError::Call(error)) if is_gone(error)), "{ended:?}");
            }
            // Nobody asked: the driver has seen the end.
            let told = async {
                while !is_lost.load(Ordering::Acquire) {
                    tokio::task::yield_now().await;
                }
            };
            timeout(PATIENCE, told).await.expect("the holder learns of the end");
            assert!(!held.is_valid());
            let next = lock.lock_async().await.map(drop).map_err(LockError::discard);
            assert!(matches!(next, Err(LockError::Call(error)) if is_gone(error)), "{next:?}");
        });
        drop(runtime);
        drop((value, queue, lock, event, manager));
        place.is_gone();
    }
}

/// The driver of a runtime does not outlive the connection, and does not keep it.
fn dropping_a_manager_leaves_nothing_in_a_runtime() {
    for runtime in runtimes() {
        let manager = Manager::start().unwrap();
        let address = manager.address().unwrap();
        runtime.block_on(async {
            for _ in 0..100 {
                let other = Manager::connect(&address).unwrap();
                let value = other.named("value").value(&1_u64).unwrap();
                assert_eq!(value.get_async().await, Ok(1));
            }
            // One task ends with the runtime.
            while runtime.metrics().num_alive_tasks() > 1 {
                tokio::task::yield_now().await;
            }
        });
        until(&manager, "the connections have ended", |info| info.clients == 1);
        manager.shutdown().unwrap();
    }
}

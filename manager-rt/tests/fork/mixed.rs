//! Sixteen processes use everything at once, and are killed one after another. Nothing that was acknowledged is lost,
//! nothing happens twice, and nothing of a dead process is left.

use std::collections::HashSet;
use std::time::Duration;

use manager_rt::{
    Barrier, BoundedSemaphore, Condition, Dict, Event, GetError, JoinableQueue, List, Lock, LockError,
    LockGuard, Manager, Queue, RLock, Value,
};
use mp_sys::testing::plain::Plain;
use mp_sys::testing::{PATIENCE, Random, kill, spawn, tests};

use crate::fixture::{until, with_manager};

tests! {
    sixteen_processes_that_are_killed,
}

const PROCESSES: usize = 16;
const KILLS: u64 = 300;
const SHORT: Duration = Duration::from_millis(1);
/// The names of all shared objects.
const NAMES: [&str; 13] = [
    "added", "counts", "lock", "guarded", "tasks", "queue", "permits", "rlock", "event", "changed",
    "meeting", "list", "finished",
];

/// The objects that the processes share.
struct Shared {
    added: Value<u64>,
    counts: Dict<u64, u64>,
    lock: Lock,
    guarded: Value<u64>,
    tasks: JoinableQueue<u64>,
    queue: Queue<u64>,
    permits: BoundedSemaphore,
    rlock: RLock,
    event: Event,
    changed: Condition,
    meeting: Barrier,
    list: List<u64>,
    /// The tasks that were worked on. Each is recorded before it is reported as done.
    finished: List<u64>,
}

impl Shared {
    fn new(manager: &Manager) -> Self {
        let named = |name| manager.named(name);
        Self {
            added: named("added").value(&0).unwrap(),
            counts: named("counts").dict().unwrap(),
            lock: named("lock").lock().unwrap(),
            guarded: named("guarded").value(&0).unwrap(),
            tasks: named("tasks").joinable_queue_with(0, 1_000_000).unwrap(),
            queue: named("queue").queue().unwrap(),
            permits: named("permits").bounded_semaphore(2).unwrap(),
            rlock: named("rlock").rlock().unwrap(),
            event: named("event").event().unwrap(),
            changed: named("changed").condition().unwrap(),
            meeting: named("meeting").barrier(3).unwrap(),
            list: named("list").list().unwrap(),
            finished: named("finished").list().unwrap(),
        }
    }
}

/// The operations that were acknowledged to the successive lives of one process. Only one life exists at a time.
struct Done {
    added: Plain,
    counted: Plain,
    guarded: Plain,
    tasks_put: Plain,
    tasks_done: Plain,
    put: Plain,
    got: Plain,
    pushed: Plain,
}

impl Done {
    fn new() -> Self {
        let zero = Plain::new;
        Self {
            added: zero(),
            counted: zero(),
            guarded: zero(),
            tasks_put: zero(),
            tasks_done: zero(),
            put: zero(),
            got: zero(),
            pushed: zero(),
        }
    }
}

/// Takes the lock, even after the death of its last holder.
fn taken(lock: &Lock) -> LockGuard<'_> {
    match lock.lock_timeout(PATIENCE) {
        Ok(guard) | Err(LockError::OwnerDied(guard)) => guard,
        Err(error) => panic!("{error}"),
    }
}

/// Returns the number of a task: the process that puts it, and how many tasks that process had put before. If a put was
/// not acknowledged before its process died, the next life may put the same task again.
fn task(process: usize, number: u64) -> u64 {
    u64::try_from(process).unwrap() << 32 | number
}

/// Runs one operation on some object.
fn operate(shared: &Shared, process: usize, done: &Done, random: &mut Random) {
    match random.below(12) {
        0 => {
            shared.added.fetch_add(1).unwrap();
            done.added.add(1);
        }
        1 => {
            shared.counts.fetch_add(&random.below(4), 1).unwrap();
            done.counted.add(1);
        }
        2 => {
            let guard = taken(&shared.lock);
            // These are two calls, between which no other process may change anything.
            let number = shared.guarded.get().unwrap();
            shared.guarded.set(&(number + 1)).unwrap();
            drop(guard);
            done.guarded.add(1);
        }
        3 => {
            shared.tasks.put(&task(process, done.tasks_put.get())).unwrap();
            done.tasks_put.add(1);
        }
        4 => match shared.tasks.get_timeout(SHORT) {
            Ok(task) => {
                shared.finished.push(&*task).unwrap();
                task.done().unwrap();
                done.tasks_done.add(1);
            }
            Err(error) => assert_eq!(error, GetError::TimedOut),
        },
        5 => {
            shared.queue.put(&1).unwrap();
            done.put.add(1);
        }
        6 => match shared.queue.get_timeout(SHORT) {
            Ok(_) => done.got.add(1),
            Err(error) => assert_eq!(error, GetError::TimedOut),
        },
        7 => {
            shared.list.push(&1).unwrap();
            done.pushed.add(1);
        }
        other => wait_for_something(shared, other),
    }
}

/// Runs one operation that holds or waits.
fn wait_for_something(shared: &Shared, which: u64) {
    match which {
        8 => drop(shared.permits.acquire_timeout(PATIENCE).unwrap()),
        9 => match shared.rlock.lock_timeout(PATIENCE) {
            Ok(_outer) | Err(LockError::OwnerDied(_outer)) => drop(shared.rlock.lock().unwrap()),
            Err(error) => panic!("{error}"),
        },
        10 => {
            if shared.event.wait_timeout(SHORT).unwrap() {
                shared.event.clear().unwrap();
            } else {
                shared.event.set().unwrap();
            }
        }
        _ => {
            if shared.changed.notify(1) == Ok(0) {
                let waited = shared.changed.wait_timeout(taken(&shared.lock), SHORT);
                assert!(matches!(waited, Ok(_) | Err(LockError::OwnerDied(_))), "{waited:?}");
            }
            // The result does not matter, since most parties time out or die.
            if shared.meeting.wait_timeout(SHORT).is_err() {
                shared.meeting.reset().unwrap();
            }
        }
    }
}

fn sixteen_processes_that_are_killed() {
    with_manager(|manager| {
        let mut random = Random::new();
        println!("MP_SEED={}", random.seed());
        let shared = Shared::new(manager);
        let done: Vec<Done> = (0..PROCESSES).map(|_| Done::new()).collect();
        let start = |process: usize, seed: u64| {
            spawn(|| {
                let mut random = Random::seeded(seed);
                loop {
                    operate(&shared, process, &done[process], &mut random);
                }
            })
        };
        let mut crew: Vec<_> = (0..PROCESSES).map(|process| start(process, random.below(u64::MAX))).collect();
        for _ in 0..KILLS {
            random.pause(2_000_000);
            let victim = usize::try_from(random.below(16)).unwrap();
            kill(&crew[victim]);
            crew[victim] = start(victim, random.below(u64::MAX));
        }
        crew.iter().for_each(kill);
        until(manager, "the dead processes are forgotten", |info| {
            (info.clients, info.waiters, info.held) == (1, 0, 0)
        });
        check(&shared, &done);
        drop(shared);
        NAMES.iter().for_each(|name| manager.remove(name).unwrap());
        assert_eq!(manager.info().unwrap().objects, 0);
    });
}

/// Each death leaves at most one operation that was done and not acknowledged.
fn check(shared: &Shared, done: &[Done]) {
    let deaths = KILLS + u64::try_from(PROCESSES).unwrap();
    let sum = |of: fn(&Done) -> &Plain| done.iter().map(|done| of(done).get()).sum::<u64>();
    let check = |what: &str, found: u64, acknowledged: u64| {
        println!("{what}: {found}, {acknowledged} acknowledged");
        assert!((acknowledged..=acknowledged + deaths).contains(&found), "{what}: {found} of {acknowledged}");
        assert!(acknowledged > 0, "no process did that: {what}");
    };
    check("added", shared.added.get().unwrap(), sum(|done| &done.added));
    check("counted", shared.counts.values().unwrap().iter().sum(), sum(|done| &done.counted));
    check("changed under the lock", shared.guarded.get().unwrap(), sum(|done| &done.guarded));
    check("pushed", u64::try_from(shared.list.len().unwrap()).unwrap(), sum(|done| &done.pushed));
    check_tasks(shared, done);
    let (put, got) = (sum(|done| &done.put), sum(|done| &done.got));
    let left = u64::try_from(shared.queue.len().unwrap()).unwrap();
    println!("items: {put} put, {got} got, {left} left");
    assert!(got > 0 && (put..=put + 2 * deaths).contains(&(got + left + deaths)));
    assert_eq!(shared.permits.available(), Ok(2));
}

/// Checks that each task whose put was acknowledged was worked on, or is still in the queue.
fn check_tasks(shared: &Shared, done: &[Done]) {
    let mut seen: HashSet<u64> = shared.finished.to_vec().unwrap().into_iter().collect();
    let worked = seen.len();
    while let Ok(task) = shared.tasks.try_get() {
        seen.insert(task.done().unwrap());
    }
    for (process, done) in done.iter().enumerate() {
        let lost = (0..done.tasks_put.get()).find(|number| !seen.contains(&task(process, *number)));
        assert_eq!(lost, None, "a task of process {process} is lost");
    }
    let finished = done.iter().map(|done| done.tasks_done.get()).sum::<u64>();
    println!("tasks: {finished} done, {worked} worked on, {} in all", seen.len());
    assert!(finished > 0);
    assert_eq!(shared.tasks.join_timeout(PATIENCE), Ok(true));
    assert_eq!(shared.tasks.failed(), Ok(vec![]));
}

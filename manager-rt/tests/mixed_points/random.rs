//! Processes that put and work on tasks, and are killed at random steps.

use std::collections::BTreeSet;

use manager_rt::{JoinableQueue, List, Manager, Task};
use mp_sys::child::ChildProcess;
use mp_sys::crash;
use mp_sys::testing::{Random, ended, spawn_beside_threads};

use crate::both::{Both, PATIENCE};

/// How many processes put tasks, one after another, and how many beside it work on them.
const GENERATIONS: u64 = 12;
/// How many tasks each process puts.
const TASKS: u64 = 8;
/// How many steps a process may make at most before it is killed, if it is.
const STEPS: u64 = 40;

struct Shared {
    queue: JoinableQueue<u64>,
    /// The tasks whose put has returned.
    put: List<u64>,
    /// The tasks that were delivered.
    seen: List<u64>,
    /// The tasks for which `done` has returned.
    done: List<u64>,
}

impl Shared {
    fn of(manager: &Manager) -> Self {
        // A task of a killed worker is not to fail.
        let queue = manager.named("tasks").joinable_queue_with(0, 1000).unwrap();
        let [put, seen, done] = ["put", "seen", "done"].map(|name| manager.named(name).list().unwrap());
        Self { queue, put, seen, done }
    }

    fn produce(&self, generation: u64, dies_at: u64) -> ChildProcess {
        spawn_beside_threads(|| {
            crash::die_at(dies_at);
            for task in (0..TASKS).map(|task| generation * TASKS + task) {
                self.queue.put(&task).unwrap();
                self.put.push(&task).unwrap();
            }
            crash::die_at(0);
        })
    }

    fn work(&self, dies_at: u64) -> ChildProcess {
        spawn_beside_threads(|| {
            crash::die_at(dies_at);
            for _ in 0..TASKS {
                let Ok(task) = self.queue.try_get() else { break };
                self.finish(task);
            }
            crash::die_at(0);
        })
    }

    fn finish(&self, task: Task<u64>) {
        self.seen.push(&*task).unwrap();
        self.done.push(&task.done().unwrap()).unwrap();
    }
}

#[test]
fn many_that_are_killed_at_random_leave_the_count_right() {
    let mut random = Random::new();
    println!("MP_SEED={}", random.seed());
    let both = Both::start();
    let manager = Manager::connect(&both.url()).unwrap();
    let shared = Shared::of(&manager);
    for generation in 0..GENERATIONS {
        let pair =
            [shared.produce(generation, 1 + random.below(STEPS)), shared.work(1 + random.below(STEPS))];
        for child in &pair {
            let _either = ended(child);
        }
    }
    // The rest is done here, while somebody waits.
    let other = Manager::connect(&manager.address().unwrap()).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| Shared::of(&other).queue.join_timeout(PATIENCE));
        while !waiting.is_finished() {
            if let Ok(task) = shared.queue.get_timeout(std::time::Duration::from_millis(50)) {
                shared.finish(task);
            }
        }
        assert_eq!(waiting.join().unwrap(), Ok(true));
    });
    assert_eq!((shared.queue.unfinished(), shared.queue.len()), (Ok(0), Ok(0)));
    assert!(shared.queue.failed().unwrap().is_empty());
    let set = |list: &List<u64>| list.to_vec().unwrap().into_iter().collect::<BTreeSet<u64>>();
    assert!(set(&shared.put).is_subset(&set(&shared.seen)), "no task is lost");
    let done = set(&shared.done).len();
    assert_eq!(shared.done.len(), Ok(done), "no task that is done was delivered again");
}

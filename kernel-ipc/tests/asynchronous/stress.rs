//! Many tasks, many operations, random drops, and a process that is killed in the middle.

use kernel_ipc::{GetError, JoinableQueue, Queue};
use mp_sys::testing::{Random, kill, spawn, succeeded_with_work, tests};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::dropped::{POLLS_MAX, dropped_after, one_thread, several_threads};

tests! {
    sixty_four_tasks_and_random_drops_lose_nothing,
    a_process_of_tasks_is_killed_in_the_middle,
}

/// Tasks of all processes together: half of them put, and half of them get.
const TASKS: u64 = 64;
/// Operations of each task.
const OPERATIONS: u64 = 10_000;
/// Processes, each with as many tasks of either kind.
const PROCESSES: u64 = 2;
const EACH: u64 = TASKS / 2 / PROCESSES;
const ALL: u64 = TASKS / 2 * OPERATIONS;
const CAPACITY: usize = 256;

/// Repeats an operation until it is done. One future of four is dropped after a random number of polls.
async fn stubborn<F: Future>(random: &mut Random, make: impl Fn() -> F) -> F::Output {
    loop {
        let polls = match random.below(4) {
            0 => usize::try_from(random.below(POLLS_MAX as u64)).unwrap(),
            _ => usize::MAX,
        };
        match dropped_after(polls, make()).await {
            Some(outcome) => return outcome,
            None => tokio::task::yield_now().await,
        }
    }
}

async fn put_all(queue: Queue<u64>, producer: u64) {
    let mut random = Random::seeded(producer);
    for number in producer * OPERATIONS..(producer + 1) * OPERATIONS {
        stubborn(&mut random, || queue.put_async(&number)).await.unwrap();
    }
}

/// Gets its share of the items, and returns their sum, and the sum of their squares.
async fn get_share(queue: Queue<u64>, consumer: u64) -> (u64, u64) {
    let mut random = Random::seeded(TASKS + consumer);
    let mut sums = (0_u64, 0_u64);
    for _ in 0..OPERATIONS {
        let item = stubborn(&mut random, || queue.get_async()).await.unwrap();
        sums = (sums.0.wrapping_add(item), sums.1.wrapping_add(item.wrapping_mul(item)));
    }
    sums
}

fn sixty_four_tasks_and_random_drops_lose_nothing() {
    let queue = Queue::<u64>::bounded(CAPACITY).unwrap();
    let results = Queue::<(u64, u64)>::new().unwrap();
    let run = |process: u64, runtime: Runtime| {
        let sums = runtime.block_on(async {
            let tasks = process * EACH..(process + 1) * EACH;
            let producers: JoinSet<()> =
                tasks.clone().map(|producer| put_all(queue.clone(), producer)).collect();
            let consumers: JoinSet<_> = tasks.map(|consumer| get_share(queue.clone(), consumer)).collect();
            producers.join_all().await;
            consumers.join_all().await
        });
        sums.iter().for_each(|sums| results.put(sums).unwrap());
    };
    let processes = [spawn(|| run(0, one_thread())), spawn(|| run(1, several_threads()))];
    processes.iter().for_each(succeeded_with_work);
    assert_eq!(queue.try_get(), Err(GetError::Empty), "as many items were put as got");
    let add = |sums: (u64, u64), more: (u64, u64)| (sums.0.wrapping_add(more.0), sums.1.wrapping_add(more.1));
    let found = (0..TASKS / 2).map(|_| results.get().unwrap()).fold((0, 0), add);
    let expected = (0..ALL).map(|item| (item, item.wrapping_mul(item))).fold((0, 0), add);
    assert_eq!(found, expected, "each item was put once and got once");
}

/// The killed process holds tasks on lease. Each task is done by one of the others, and none is done twice.
fn a_process_of_tasks_is_killed_in_the_middle() {
    const COUNT: u64 = 4000;
    const KEPT: u64 = 64;
    let queue = JoinableQueue::<u64>::bounded(CAPACITY).unwrap();
    let taken = Queue::<()>::new().unwrap();
    let victim = spawn(|| {
        one_thread().block_on(async {
            let mut kept = Vec::new();
            for _ in 0..KEPT {
                kept.push(queue.get_async().await.unwrap());
            }
            taken.put(&()).unwrap();
            // It goes on taking and returning tasks until it is killed.
            loop {
                drop(queue.get_async().await.unwrap());
            }
        });
    });
    queue.set_max_deliveries(u32::MAX).unwrap();
    (0..KEPT).for_each(|number| queue.put(&number).unwrap());
    taken.get().unwrap();
    let done = one_thread().block_on(async {
        let work = |worker: u64| {
            let queue = queue.clone();
            async move {
                let (mut random, mut done) = (Random::seeded(worker), Vec::new());
                while let Ok(task) = stubborn(&mut random, || queue.get_async()).await {
                    tokio::task::yield_now().await;
                    done.push(task.done());
                }
                done
            }
        };
        let put = async {
            for number in KEPT..COUNT {
                if number == COUNT / 2 {
                    kill(&victim);
                }
                queue.put_async(&number).await.unwrap();
            }
            queue.join_async().await.unwrap();
            queue.close().unwrap();
        };
        let workers: JoinSet<_> = (0..8).map(work).collect();
        let (done, ()) = tokio::join!(workers.join_all(), put);
        done
    });
    let mut done: Vec<u64> = done.into_iter().flatten().collect();
    done.sort_unstable();
    assert!(done.into_iter().eq(0..COUNT), "each task is done once");
    assert_eq!(queue.failed(), Ok(Vec::new()));
}

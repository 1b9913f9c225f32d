//! Queues whose users are killed: a dead waiter never takes an item, and the task of a dead worker is delivered again.

use manager_rt::{GetError, JoinableQueue, Manager, PutError, Queue};
use mp_sys::testing::{PATIENCE, Random, hang, kill, spawn, succeeded, tests};

use crate::fixture::{until, until_held, until_waiting, with_manager};
use crate::frozen::freeze;

tests! {
    a_waiter_for_an_item_is_killed,
    a_waiter_for_room_is_killed,
    a_waiter_for_many_items_is_killed,
    a_waiter_for_a_task_is_killed,
    a_waiter_for_room_for_a_task_is_killed,
    a_worker_is_killed_with_tasks_in_hand,
    a_waiter_for_the_end_of_all_tasks_is_killed,
    a_task_that_kills_its_workers_fails,
    a_task_that_no_killed_worker_has_read_does_not_fail,
    items_on_their_way_to_a_killed_reader_come_back_in_order,
}

const ROUNDS: u64 = 60;

fn a_waiter_for_an_item_is_killed() {
    with_manager(|manager| {
        let queue = manager.queue::<u64>().unwrap();
        let victim = spawn(|| drop(queue.get()));
        until_waiting(manager, 1);
        let next = spawn(|| assert_eq!(queue.get_timeout(PATIENCE), Ok(7)));
        until_waiting(manager, 2);
        kill(&victim);
        until_waiting(manager, 1);
        queue.put(&7).unwrap();
        succeeded(&next);
        assert_eq!(queue.try_get(), Err(GetError::Empty));
    });
}

fn a_waiter_for_room_is_killed() {
    with_manager(|manager| {
        let queue = manager.bounded_queue::<u64>(1).unwrap();
        queue.put(&1).unwrap();
        let victim = spawn(|| drop(queue.put(&2)));
        until_waiting(manager, 1);
        let next = spawn(|| assert_eq!(queue.put_timeout(&3, PATIENCE), Ok(())));
        until_waiting(manager, 2);
        kill(&victim);
        until_waiting(manager, 1);
        assert_eq!(queue.try_put(&4), Err(PutError::Full));
        assert_eq!(queue.get_timeout(PATIENCE), Ok(1));
        succeeded(&next);
        assert_eq!(queue.try_get(), Ok(3));
        assert_eq!(queue.try_get(), Err(GetError::Empty));
    });
}

fn a_waiter_for_many_items_is_killed() {
    with_manager(|manager| {
        let queue = manager.queue::<u64>().unwrap();
        let victim = spawn(|| drop(queue.get_many(100)));
        until_waiting(manager, 1);
        kill(&victim);
        until_waiting(manager, 0);
        queue.put_many(&[1, 2, 3]).unwrap();
        assert_eq!(queue.get_many_timeout(100, PATIENCE), Ok(vec![1, 2, 3]));
    });
}

fn a_waiter_for_a_task_is_killed() {
    with_manager(|manager| {
        let queue = manager.joinable_queue::<u64>().unwrap();
        let victim = spawn(|| drop(queue.get()));
        until_waiting(manager, 1);
        let next = spawn(|| {
            let task = queue.get_timeout(PATIENCE).unwrap();
            assert_eq!((task.deliveries(), task.done()), (1, Ok(7)));
        });
        until_waiting(manager, 2);
        kill(&victim);
        until_waiting(manager, 1);
        queue.put(&7).unwrap();
        succeeded(&next);
        assert_eq!(queue.join_timeout(PATIENCE), Ok(true));
    });
}

fn a_waiter_for_room_for_a_task_is_killed() {
    with_manager(|manager| {
        let queue = manager.bounded_joinable_queue::<u64>(1).unwrap();
        queue.put(&1).unwrap();
        let victim = spawn(|| drop(queue.put(&2)));
        until_waiting(manager, 1);
        kill(&victim);
        until_waiting(manager, 0);
        assert_eq!(queue.get_timeout(PATIENCE).unwrap().done(), Ok(1));
        assert_eq!((queue.len(), queue.unfinished()), (Ok(0), Ok(0)));
        queue.put_timeout(&3, PATIENCE).unwrap();
        assert_eq!(queue.try_get().unwrap().done(), Ok(3));
    });
}

fn a_worker_is_killed_with_tasks_in_hand() {
    with_manager(|manager| {
        let queue = manager.joinable_queue::<u64>().unwrap();
        queue.put_many(&[1, 2, 3]).unwrap();
        let victim = spawn(|| {
            let _tasks = (queue.get().unwrap(), queue.get().unwrap());
            hang();
        });
        until_held(manager, 2);
        let joining = spawn(|| assert_eq!(queue.join_timeout(PATIENCE), Ok(true)));
        until_waiting(manager, 1);
        kill(&victim);
        until_held(manager, 0);
        let mut tasks: Vec<_> = (0..3).map(|_| queue.get_timeout(PATIENCE).unwrap()).collect();
        assert_eq!(queue.unfinished(), Ok(3));
        tasks.sort_by_key(|task| **task);
        let delivered: Vec<_> = tasks.iter().map(|task| (**task, task.deliveries())).collect();
        assert_eq!(delivered, [(1, 2), (2, 2), (3, 1)]);
        tasks.into_iter().for_each(|task| assert!(task.done().is_ok()));
        succeeded(&joining);
    });
}

fn a_waiter_for_the_end_of_all_tasks_is_killed() {
    with_manager(|manager| {
        let queue = manager.joinable_queue::<u64>().unwrap();
        queue.put(&1).unwrap();
        let victim = spawn(|| drop(queue.join()));
        until_waiting(manager, 1);
        let next = spawn(|| assert_eq!(queue.join_timeout(PATIENCE), Ok(true)));
        until_waiting(manager, 2);
        kill(&victim);
        until_waiting(manager, 1);
        queue.try_get().unwrap().done().unwrap();
        succeeded(&next);
    });
}

fn a_task_that_kills_its_workers_fails() {
    with_manager(|manager| {
        let queue: JoinableQueue<u64> = manager.joinable_queue_with(0, 3).unwrap();
        let is_read = manager.event().unwrap();
        queue.put(&13).unwrap();
        for deliveries in 1..=3 {
            let victim = spawn(|| {
                let task = queue.get().unwrap();
                assert_eq!(task.deliveries(), deliveries);
                is_read.set().unwrap();
                hang();
            });
            // One that it has not read is not its fault.
            assert_eq!(is_read.wait_timeout(PATIENCE), Ok(true));
            is_read.clear().unwrap();
            kill(&victim);
            until_held(manager, 0);
        }
        assert_eq!(queue.try_get().map(drop), Err(GetError::Empty));
        assert_eq!(queue.take_failed(), Ok(vec![Ok(13)]));
        assert_eq!(queue.join_timeout(PATIENCE), Ok(true), "it does not delay the others");
    });
}

/// Workers that wait in two threads are frozen, and get two tasks each without reading any of them.
fn a_task_that_no_killed_worker_has_read_does_not_fail() {
    const WORKERS: u64 = 3;
    with_manager(|manager| {
        let queue: JoinableQueue<u64> = manager.joinable_queue_with(0, 1).unwrap();
        let workers = (1..=WORKERS).map(|count| {
            let worker = spawn(|| {
                let get = || drop(queue.get().map(std::mem::forget));
                std::thread::scope(|scope| {
                    scope.spawn(get);
                    get();
                });
            });
            until_waiting(manager, 2 * count);
            freeze(&worker);
            worker
        });
        let workers: Vec<_> = workers.collect();
        queue.put_many(&[1, 2]).unwrap();
        for (worker, left) in workers.iter().zip((0..WORKERS).rev()) {
            until(manager, "it has both tasks", |info| (info.waiters, info.held) == (2 * left, 2));
            kill(worker);
        }
        for number in [1, 2] {
            let task = queue.get_timeout(PATIENCE).unwrap();
            assert_eq!((*task, task.deliveries()), (number, 1));
            task.done().unwrap();
        }
        assert_eq!(queue.failed(), Ok(vec![]));
    });
}

/// Items that a killed reader has not read are in the queue again, at the front and in order. Those that it has read
/// are gone.
fn items_on_their_way_to_a_killed_reader_come_back_in_order() {
    with_manager(|manager| {
        let queue = manager.queue::<u64>().unwrap();
        let seen = manager.value(&0_u64).unwrap();
        let mut random = Random::new();
        for _ in 0..ROUNDS {
            round(manager, &queue, &seen, &mut random);
        }
    });
}

fn round(manager: &Manager, queue: &Queue<u64>, seen: &manager_rt::Value<u64>, random: &mut Random) {
    const ITEMS: u64 = 2_000;
    let seed = random.seed();
    seen.set(&0).unwrap();
    queue.put_many(&(1..=ITEMS).collect::<Vec<_>>()).unwrap();
    let victim = spawn(|| {
        let own = Manager::connect(&manager.address().unwrap()).unwrap();
        let _other_connection = own.info().unwrap();
        loop {
            let item = queue.get().unwrap();
            seen.set(&item).unwrap();
        }
    });
    until(manager, "it has begun", |info| info.clients == 3);
    random.pause(3_000_000);
    kill(&victim);
    until(manager, "its connections are closed", |info| info.clients == 1);
    let seen = seen.get().unwrap();
    let rest = queue.try_get_many(usize::MAX).unwrap();
    let expected = ITEMS - u64::try_from(rest.len()).unwrap();
    assert!(rest.iter().copied().eq(expected + 1..=ITEMS), "MP_SEED={seed}: {rest:?}");
    // It may have taken one more than it had time to note.
    assert!((seen..=seen + 1).contains(&expected), "MP_SEED={seed}: {seen} of {expected}");
}

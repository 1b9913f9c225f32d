//! Which tasks are unfinished, whatever becomes of those who put them and work on them.

use std::time::Duration;

use manager_rt::proto::{Fault, Kind};
use manager_rt::{CallError, Death, GetError, JoinableQueue, Kinds, Manager, ObjectError, PutError};
use mp_sys::testing::{eventually, kill, spawn_beside_threads, succeeded};

use crate::both::rabbitmq::shared;
use crate::both::{Both, PATIENCE, tasks};

const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn the_promises_are_those_that_both_engines_keep() {
    let both = Both::start();
    let manager = Manager::connect(&both.url()).unwrap();
    let caps = manager.backend().caps();
    assert_eq!((caps.name, caps.kinds), ("redis+rabbitmq", Kinds::ALL));
    assert!(caps.joins && caps.unread_returns);
    assert!(!caps.closes && !caps.fair && !caps.exact_counts && !caps.queue_transactions);
    assert!(caps.transactions);
    assert!(matches!(caps.death, Death::Within(bound) if bound >= Duration::from_secs(30)), "{caps:?}");
    assert!(caps.value_bytes_max < 16 << 20);
}

#[test]
fn the_builder_and_the_address_lead_to_the_same_objects() {
    let both = Both::start();
    let url = both.url();
    let (objects, queues) = url.split_once(' ').unwrap();
    let manager = Manager::builder().objects(objects).queues(queues).connect().unwrap();
    let (queue, value) = (tasks(&manager), manager.named("value").value(&1_u8).unwrap());
    queue.put(&5).unwrap();
    let message = postcard::to_stdvec(&(&queue, &value)).unwrap();
    let address = manager.address().unwrap();
    assert!(!address.contains("guest:"), "{address}");
    drop((queue, value, manager));
    let other = Manager::connect(&url).unwrap();
    assert_eq!(other.address(), Some(address));
    let (queue, value): (JoinableQueue<u32>, manager_rt::Value<u8>) = postcard::from_bytes(&message).unwrap();
    assert_eq!((queue.get_timeout(PATIENCE).unwrap().done(), value.get()), (Ok(5), Ok(1)));
    let shown = format!("{other:?} {:?} {:?}", other.backend(), Manager::builder().objects(&url));
    assert!(!shown.contains("guest:"), "{shown}");
}

/// It would take tasks, and keep no count.
#[test]
fn a_manager_without_redis_gets_no_tasks_of_one_with_it() {
    let both = Both::start();
    let url = both.url();
    let (manager, alone) =
        (Manager::connect(&url).unwrap(), Manager::connect(url.split_once(' ').unwrap().1).unwrap());
    let (queue, items) = (tasks(&manager), manager.named("items").queue::<u8>().unwrap());
    queue.put(&1).unwrap();
    let refused = alone.named("tasks").joinable_queue::<u32>().map(drop);
    assert_eq!(refused, Err(ObjectError::WrongType));
    items.put(&2).unwrap();
    assert_eq!(alone.named("items").queue::<u8>().unwrap().get_timeout(PATIENCE), Ok(2));
    let own = alone.named("own").joinable_queue::<u32>().unwrap();
    let lacks = |what| {
        let kind = Kind::JoinableQueue;
        Err::<(), _>(ObjectError::Call(CallError::Unsupported { kind, what, backend: "rabbitmq" }))
    };
    assert_eq!(own.join(), lacks("waiting for the end of all tasks"));
    assert_eq!(own.unfinished().map(drop), lacks("counting unfinished tasks"));
}

#[test]
fn what_was_not_put_is_not_unfinished() {
    let both = Both::start();
    let manager = Manager::connect(&both.url()).unwrap();
    let queue = manager.named("tasks").bounded_joinable_queue::<u32>(1).unwrap();
    let accepted = (0..9).take_while(|task| queue.try_put(task).is_ok()).count();
    assert_eq!(queue.put_timeout(&9, MOMENT), Err(PutError::TimedOut));
    assert_eq!(queue.unfinished(), Ok(accepted));
    manager.remove("tasks").unwrap();
    let gone = ObjectError::Call(CallError::Fault(Fault::UnknownObject));
    assert_eq!(queue.put(&9), Err(PutError::Object(gone.clone())));
    assert_eq!(queue.join(), Err(gone.clone()));
    assert_eq!(queue.unfinished(), Err(gone));
    let again = manager.named("tasks").joinable_queue::<u32>().unwrap();
    assert_eq!((again.unfinished(), again.join()), (Ok(0), Ok(())));
}

#[test]
fn those_who_wait_are_answered_when_the_queue_is_removed() {
    let both = Both::start();
    let manager = Manager::connect(&both.url()).unwrap();
    let queue = tasks(&manager);
    queue.put(&1).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| queue.join());
        eventually("it waits", || manager.info().unwrap().waiters == 1);
        manager.remove("tasks").unwrap();
        let gone = ObjectError::Call(CallError::Fault(Fault::UnknownObject));
        assert_eq!(waiting.join().unwrap(), Err(gone));
    });
}

#[test]
fn a_task_of_a_killed_worker_is_unfinished_until_another_one_has_done_it() {
    let both = Both::start();
    let manager = Manager::connect(&both.url()).unwrap();
    let queue = tasks(&manager);
    queue.put(&1).unwrap();
    let started = manager.named("started").event().unwrap();
    let worker = spawn_beside_threads(|| {
        let _task = queue.get_timeout(PATIENCE).unwrap();
        started.set().unwrap();
        loop {
            std::thread::park();
        }
    });
    started.wait().unwrap();
    assert_eq!((queue.len(), queue.unfinished(), queue.join_timeout(MOMENT)), (Ok(0), Ok(1), Ok(false)));
    kill(&worker);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| queue.join_timeout(PATIENCE));
        let task = queue.get_timeout(PATIENCE).unwrap();
        assert_eq!((*task, task.deliveries(), queue.unfinished()), (1, 2, Ok(1)));
        assert!(!waiting.is_finished());
        task.done().unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(true));
    });
}

/// RabbitMQ moves the task to the failed ones, and tells nobody.
#[test]
fn a_task_that_fails_with_its_worker_is_not_unfinished() {
    let both = Both::start();
    let manager = Manager::connect(&both.url()).unwrap();
    let queue = manager.named("tasks").joinable_queue_with::<u32>(0, 1).unwrap();
    (1..=2).for_each(|task| queue.put(&task).unwrap());
    // Dropped here, and held by a process that is killed there.
    drop(queue.get_timeout(PATIENCE).unwrap());
    let started = manager.named("started").event().unwrap();
    let worker = spawn_beside_threads(|| {
        let _task = queue.get_timeout(PATIENCE).unwrap();
        started.set().unwrap();
        loop {
            std::thread::park();
        }
    });
    started.wait().unwrap();
    assert_eq!(queue.unfinished(), Ok(1));
    kill(&worker);
    assert_eq!(queue.join_timeout(PATIENCE), Ok(true));
    eventually("both have failed", || queue.failed().unwrap().len() == 2);
    assert_eq!((queue.unfinished(), queue.take_failed().unwrap().len()), (Ok(0), 2));
    assert_eq!(queue.try_get().unwrap_err(), GetError::Empty);
}

#[test]
fn children_have_tasks_and_puts_of_their_own() {
    let both = Both::start();
    let manager = Manager::connect(&both.url()).unwrap();
    let queue = tasks(&manager);
    queue.put(&1).unwrap();
    let held = queue.get_timeout(PATIENCE).unwrap();
    let child = spawn_beside_threads(|| {
        queue.put(&2).unwrap();
        let own = queue.get_timeout(PATIENCE).unwrap();
        assert_eq!((own.done(), queue.unfinished()), (Ok(2), Ok(1)));
        queue.put(&3).unwrap();
    });
    succeeded(&child);
    assert_eq!(held.done(), Ok(1));
    assert_eq!(queue.unfinished(), Ok(1), "the child has put a task and ended");
    assert_eq!(queue.get_timeout(PATIENCE).unwrap().done(), Ok(3));
    assert_eq!(queue.join(), Ok(()));
}

/// What Redis has on its disk is what it knows again.
#[test]
fn the_count_survives_a_restart_of_redis() {
    let mut both = Both::start();
    let url = both.url();
    let manager = Manager::connect(&url).unwrap();
    let queue = tasks(&manager);
    (1..=2).for_each(|task| queue.put(&task).unwrap());
    let held = queue.get_timeout(PATIENCE).unwrap();
    both.redis.restart();
    let other = tasks(&Manager::connect(&url).unwrap());
    assert_eq!((other.unfinished(), other.join_timeout(MOMENT)), (Ok(2), Ok(false)));
    assert_eq!(held.done(), Ok(1));
    assert_eq!(queue.get_timeout(PATIENCE).unwrap().done(), Ok(2));
    assert_eq!(other.join_timeout(PATIENCE), Ok(true));
}

/// The session of the worker ends with that run of Redis, but the worker does not.
#[test]
fn a_worker_goes_on_with_the_last_delivery_of_a_task_when_redis_is_restarted() {
    let mut both = Both::start();
    let url = both.url();
    let manager = Manager::connect(&url).unwrap();
    let queue = manager.named("tasks").joinable_queue_with::<u32>(0, 1).unwrap();
    queue.put(&1).unwrap();
    let held = queue.get_timeout(PATIENCE).unwrap();
    both.redis.restart();
    let other = Manager::connect(&url).unwrap().named("tasks").joinable_queue_with::<u32>(0, 1).unwrap();
    // The wait looks for it several times.
    assert_eq!((other.join_timeout(Duration::from_secs(10)), other.unfinished()), (Ok(false), Ok(1)));
    assert_eq!((held.done(), other.join_timeout(PATIENCE)), (Ok(1), Ok(true)));
    assert!(other.failed().unwrap().is_empty());
}

/// Otherwise its process would hold it until it ends.
#[test]
fn a_task_that_was_done_without_redis_is_delivered_again() {
    let mut both = Both::start();
    let url = both.url();
    let manager = Manager::connect(&url).unwrap();
    let queue = tasks(&manager);
    queue.put(&1).unwrap();
    let held = queue.get_timeout(PATIENCE).unwrap();
    both.redis.restart_after(|_| {
        let done = held.done();
        let unknown = matches!(done, Err(ObjectError::Call(CallError::OutcomeUnknown)));
        assert!(unknown, "{done:?}");
    });
    let again = queue.get_timeout(PATIENCE).unwrap();
    assert_eq!((again.deliveries(), again.done()), (2, Ok(1)));
    assert_eq!((queue.join_timeout(PATIENCE), queue.unfinished()), (Ok(true), Ok(0)));
}

/// RabbitMQ counts nothing of them, so nobody may wait for ever.
#[test]
fn whoever_waits_for_tasks_that_rabbitmq_has_lost_gets_an_error() {
    let both = Both::start();
    let (url, space) = both.url_and_namespace();
    let manager = Manager::connect(&url).unwrap();
    let queue = tasks(&manager);
    (1..=2).for_each(|task| queue.put(&task).unwrap());
    shared().control(&["purge_queue", &format!("{space}/tasks")]);
    let lost = ObjectError::Call(CallError::TasksLost);
    assert_eq!((queue.join_timeout(2 * PATIENCE), queue.unfinished()), (Err(lost), Ok(2)));
    manager.remove("tasks").unwrap();
    assert_eq!(tasks(&manager).join_timeout(PATIENCE), Ok(true));
}

#[cfg(feature = "tokio")]
#[test]
fn async_tasks_can_use_the_queues_of_items() {
    let both = Both::start();
    let manager = Manager::connect(&both.url()).unwrap();
    let (items, queue) = (manager.queue::<u32>().unwrap(), tasks(&manager));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        items.put_async(&5).await.unwrap();
        assert_eq!(items.get_async().await, Ok(5));
        let refused = queue.get_async().await.map(drop).unwrap_err();
        let kind = Kind::Manager;
        let unsupported =
            CallError::Unsupported { kind, what: "calls of async tasks", backend: "redis+rabbitmq" };
        assert_eq!(refused, GetError::Object(ObjectError::Call(unsupported)));
    });
}

//! What RabbitMQ and its client do that one does not expect: see `docs/design/rabbitmq.md`.

use std::time::Duration;

use manager_rt::proto::Fault;
use manager_rt::{CallError, GetError, Manager, ObjectError, PutError, Queue};
use mp_sys::testing::eventually;

use crate::deaths::PATIENCE;
use crate::server::{namespace, shared};

const MOMENT: Duration = Duration::from_millis(1);

fn manager() -> Manager {
    Manager::connect(&shared().url(&namespace())).unwrap()
}

fn gone() -> ObjectError {
    ObjectError::Call(CallError::Fault(Fault::UnknownObject))
}

/// RabbitMQ confirms what it cannot route, unless it is asked to return it.
#[test]
fn a_put_into_a_queue_that_was_removed_is_an_error() {
    let manager = manager();
    let queue = manager.named("q").queue::<u8>().unwrap();
    queue.put(&1).unwrap();
    manager.remove("q").unwrap();
    assert_eq!(queue.put(&2), Err(PutError::Object(gone())));
    assert_eq!(queue.get(), Err(GetError::Object(gone())));
    assert_eq!(manager.remove("q"), Err(CallError::Fault(Fault::UnknownName)));
    let again: Queue<u8> = manager.named("q").queue().unwrap();
    assert_eq!(again.try_get(), Err(GetError::Empty), "it is another queue");
}

/// Items that are on their way together stay in order, and are refused together.
#[test]
fn several_items_are_put_in_order_or_refused() {
    let manager = manager();
    let queue = manager.named("q").queue::<u32>().unwrap();
    let items: Vec<u32> = (0..5_000).collect();
    queue.put_many(&items).unwrap();
    assert_eq!(queue.len(), Ok(items.len()));
    for item in &items[..50] {
        assert_eq!(queue.get_timeout(PATIENCE).as_ref(), Ok(item));
    }
    manager.remove("q").unwrap();
    assert_eq!(queue.put_many(&items[..9]), Err(PutError::Object(gone())));
}

/// The stream of a consumer just ends when its queue is removed.
#[test]
fn a_call_that_waits_ends_when_its_queue_is_removed() {
    let manager = manager();
    let queue = manager.named("q").queue::<u8>().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| queue.get());
        eventually("it is removed while it is waited for", || {
            waiting.is_finished() || manager.remove("q").is_ok()
        });
        assert_eq!(waiting.join().unwrap(), Err(GetError::Object(gone())));
    });
}

/// A channel that closes counts as a delivery of what was delivered on it. Those that time out have nothing.
#[test]
fn calls_that_time_out_count_as_no_delivery() {
    let manager = manager();
    let queue = manager.named("q").joinable_queue_with::<u8>(0, 2).unwrap();
    for _ in 0..20 {
        assert_eq!(queue.get_timeout(MOMENT).unwrap_err(), GetError::TimedOut);
    }
    queue.put(&1).unwrap();
    queue.put(&2).unwrap();
    for task in 1..=2 {
        let taken = queue.get_timeout(PATIENCE).unwrap();
        assert_eq!((*taken, taken.deliveries()), (task, 1), "nothing is delivered in advance");
        taken.done().unwrap();
    }
}

/// What was delivered to a consumer while another task is done was not delivered in advance.
#[test]
fn a_consumer_that_waited_withholds_nothing() {
    let manager = manager();
    let queue = manager.named("q").joinable_queue_with::<u8>(0, 1).unwrap();
    let held = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| queue.get_timeout(PATIENCE).unwrap());
        (1..=3).for_each(|task| queue.put(&task).unwrap());
        waiting.join().unwrap()
    });
    for task in 2..=3 {
        assert_eq!(queue.get_timeout(PATIENCE).unwrap().done(), Ok(task));
    }
    assert_eq!(held.done(), Ok(1));
    assert_eq!(queue.failed().unwrap(), []);
}

/// A task that fails is neither dropped nor delivered for ever.
#[test]
fn failed_tasks_can_be_read_many_times_and_taken_once() {
    let manager = manager();
    let queue = manager.named("q").joinable_queue_with::<u32>(0, 1).unwrap();
    const TASKS: u32 = 40;
    for task in 0..TASKS {
        queue.put(&task).unwrap();
        drop(queue.get_timeout(PATIENCE).unwrap());
    }
    let failed = || queue.failed().unwrap().into_iter().map(Result::unwrap).collect::<Vec<u32>>();
    let all: Vec<u32> = (0..TASKS).collect();
    for _ in 0..3 {
        eventually("all have failed, and are there again", || failed() == all);
    }
    let taken: Vec<u32> = queue.take_failed().unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(taken, all);
    assert_eq!(failed(), [0; 0]);
}

/// A refusal ends the channel. The tasks that the process holds are delivered on other channels.
#[test]
fn an_error_of_one_call_loses_no_task_of_another() {
    let manager = manager();
    let (queue, other) =
        (manager.named("q").joinable_queue::<u8>().unwrap(), manager.named("other").queue::<u8>().unwrap());
    (1..=5).for_each(|task| queue.put(&task).unwrap());
    let held: Vec<_> = (1..=5).map(|_| queue.get_timeout(PATIENCE).unwrap()).collect();
    manager.remove("other").unwrap();
    for _ in 0..5 {
        assert_eq!(other.try_get(), Err(GetError::Object(gone())));
        assert_eq!(other.put(&1), Err(PutError::Object(gone())));
        assert_eq!(other.len(), Err(gone()));
    }
    assert_eq!(held.into_iter().map(|task| task.done().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

/// Each channel gets the next number, up to the most that RabbitMQ allows, although those before it are closed.
#[test]
fn more_gets_than_there_are_channels_have_waited() {
    let manager = manager();
    let queue = manager.named("q").queue::<u8>().unwrap();
    for _ in 0..2_100 {
        assert_eq!(queue.get_timeout(MOMENT), Err(GetError::TimedOut));
    }
    queue.put(&1).unwrap();
    assert_eq!(queue.get(), Ok(1));
}

/// Refusals have room for 255 bytes, and contain what the queue is.
#[test]
fn names_at_the_limit_and_one_above() {
    let manager = manager();
    let Err(ObjectError::Call(CallError::Fault(Fault::BadName { limit }))) =
        manager.named(&"n".repeat(200)).queue::<u8>()
    else {
        panic!("it is too long")
    };
    let longest = "n".repeat(usize::try_from(limit).unwrap());
    let most = manager_rt::limits::CAPACITY_MAX.try_into().unwrap();
    let make = || manager.named(&longest).joinable_queue_with::<u8>(most, u32::MAX);
    let queue = make().unwrap();
    let Err(error) = manager.named(&longest).joinable_queue::<u16>() else { panic!("another type") };
    assert_eq!(error, ObjectError::WrongType);
    let Err(error) = manager.named(&longest).queue::<u8>() else { panic!("another kind") };
    let kind = manager_rt::proto::Kind::JoinableQueue;
    assert_eq!(error, ObjectError::Call(CallError::Fault(Fault::WrongKind { found: kind })));
    assert_eq!((make().unwrap().capacity(), queue.capacity()), (Ok(Some(most)), Ok(Some(most))));
}

/// Replicated queues take one item more than their limit, and say nothing wrong about the rest.
#[test]
fn the_types_of_queues_are_those_of_their_makers() {
    let url = shared().url(&namespace());
    let (classic, quorum) =
        (Manager::connect(&url).unwrap(), Manager::connect(&format!("{url}&type=quorum")).unwrap());
    let queue = quorum.named("q").bounded_queue::<u8>(2).unwrap();
    let same = classic.named("q").bounded_queue::<u8>(9).unwrap();
    assert_eq!(same.capacity(), Ok(Some(2)));
    let accepted = (0..9).take_while(|item| same.try_put(item).is_ok()).count();
    assert!((2..5).contains(&accepted), "{accepted}");
    assert_eq!(same.try_put(&9), Err(PutError::Full));
    for item in 0..accepted {
        assert_eq!(queue.get_timeout(PATIENCE).map(usize::from), Ok(item));
    }
}

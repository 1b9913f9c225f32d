//! `JoinableQueue`.

use crate::conformance::{
    Fixture, MOMENT, PATIENCE, assert_closed_or_refused, assert_objects, not_at_once, patience, tests, until,
    until_objects, until_waiting,
};
use crate::proto::{Fault, Kind};
use crate::{CallError, GetError, JoinableQueue, ObjectError, PutError, Value};

tests! {
    [JoinableQueue] {
        undone_tasks_return_to_the_queue,
        tasks_of_dead_clients_go_to_others,
        many_tasks_are_put_in_one_step,
        a_task_fails_after_too_many_deliveries,
        a_full_queue_makes_producers_wait,
        a_closed_queue_ends_when_no_task_can_come_back,
        a_task_that_cannot_be_decoded_returns_to_the_queue,
    }
    [JoinableQueue, Value] {
        a_join_waits_for_all_tasks,
        a_task_keeps_the_objects_inside,
    }
}

/// Waits until all tasks are done or put aside. A backend that does not promise to count them does it or refuses.
fn until_joined<T>(fixture: &dyn Fixture, queue: &JoinableQueue<T>) {
    let caps = fixture.caps();
    if caps.joins {
        assert!(queue.join_timeout(PATIENCE).unwrap());
        assert_eq!(queue.unfinished(), Ok(0));
        return;
    }
    let kind = Kind::JoinableQueue;
    let lacks = |what| CallError::Unsupported { kind, what, backend: caps.name }.into();
    let unfinished = queue.unfinished();
    assert!(unfinished == Ok(0) || unfinished == Err(lacks("counting unfinished tasks")), "{unfinished:?}");
    let joined = queue.join_timeout(PATIENCE);
    assert!(joined == Ok(true) || joined == Err(lacks("waiting for the end of all tasks")), "{joined:?}");
}

fn undone_tasks_return_to_the_queue(fixture: &dyn Fixture) {
    let (one, other) = (fixture.client(), fixture.client());
    let queue = one.named("tasks").joinable_queue::<String>().unwrap();
    ["a", "b"].iter().for_each(|task| queue.put(*task).unwrap());
    let same = other.named("tasks").joinable_queue::<String>().unwrap();
    let (first, second) = (queue.get().unwrap(), same.get().unwrap());
    assert_eq!((&**first, &**second), ("a", "b"));
    if fixture.caps().exact_counts {
        assert_eq!((queue.len().unwrap(), queue.unfinished().unwrap()), (0, 2));
    }
    drop(first);
    second.requeue().unwrap();
    queue.put(&"c".to_owned()).unwrap();
    let mut order = Vec::new();
    while let Ok(task) = same.try_get() {
        order.push((task.deliveries(), task.done().unwrap()));
    }
    order.sort_unstable();
    assert_eq!(order, [(1, "c".to_owned()), (2, "a".to_owned()), (2, "b".to_owned())]);
    until_joined(fixture, &queue);
    assert_eq!(queue.try_get().unwrap_err(), GetError::Empty);
    assert_eq!(queue.get_timeout(MOMENT).unwrap_err(), GetError::TimedOut);
}

fn tasks_of_dead_clients_go_to_others(fixture: &dyn Fixture) {
    let (dying, waiting) = (fixture.client(), fixture.client());
    let queue = dying.named("tasks").joinable_queue::<u8>().unwrap();
    queue.put(&1).unwrap();
    let lost = queue.get().unwrap();
    let same = waiting.named("tasks").joinable_queue::<u8>().unwrap();
    std::thread::scope(|scope| {
        let next = scope.spawn(|| same.get_timeout(patience(fixture)));
        until_waiting(fixture, 1);
        fixture.kill(&dying);
        let task = next.join().unwrap().unwrap();
        assert_eq!((*task, task.deliveries()), (1, 2));
        assert!(lost.done().is_err());
        task.done().unwrap();
    });
    until_joined(fixture, &same);
}

fn a_join_waits_for_all_tasks(fixture: &dyn Fixture) {
    const TASKS: u32 = 100;
    // This stands for the end of a queue that cannot be closed.
    const END: u32 = TASKS;
    let closes = fixture.caps().closes;
    if !fixture.caps().joins {
        return;
    }
    let (producer, one, other) = (fixture.client(), fixture.client(), fixture.client());
    let queue = producer.named("tasks").joinable_queue::<u32>().unwrap();
    queue.join().unwrap();
    (0..TASKS).for_each(|task| queue.put(&task).unwrap());
    assert!(!queue.join_timeout(MOMENT).unwrap());
    std::thread::scope(|scope| {
        for client in [&one, &other] {
            scope.spawn(move || {
                let queue = client.named("tasks").joinable_queue::<u32>().unwrap();
                let sum = client.named("sum").value(&0_u32).unwrap();
                while let Ok(task) = queue.get_timeout(PATIENCE) {
                    if *task == END {
                        task.done().unwrap();
                        break;
                    }
                    sum.fetch_add(*task).unwrap();
                    task.done().unwrap();
                }
            });
        }
        assert!(queue.join_timeout(PATIENCE).unwrap());
        let sum = producer.named("sum").value(&0_u32).unwrap().get().unwrap();
        assert_eq!(sum, (0..TASKS).sum::<u32>());
        if closes {
            queue.close().unwrap();
        } else {
            (0..2).for_each(|_| queue.put(&END).unwrap());
        }
    });
}

fn many_tasks_are_put_in_one_step(fixture: &dyn Fixture) {
    let caps = fixture.caps();
    let queue = fixture.client().bounded_joinable_queue::<u8>(2).unwrap();
    if !caps.puts_many && !caps.atomic_put_many {
        let error = PutError::Object(ObjectError::Call(not_at_once(&caps, Kind::JoinableQueue)));
        assert_eq!(queue.put_many(&[1, 2]), Err(error));
        assert_eq!(queue.try_get().unwrap_err(), GetError::Empty);
        return;
    }
    assert!(queue.put_many(&[1, 2, 3]).is_err());
    assert_eq!(queue.try_get().unwrap_err(), GetError::Empty);
    queue.put_many(&[1, 2]).unwrap();
    assert_eq!([(); 2].map(|()| queue.get().unwrap().done().unwrap()), [1, 2]);
}

fn a_task_fails_after_too_many_deliveries(fixture: &dyn Fixture) {
    let client = fixture.client();
    let queue = client.joinable_queue_with::<u8>(0, 2).unwrap();
    (1..=2).for_each(|task| queue.put(&task).unwrap());
    let mut got = [(); 4].map(|()| {
        let task = queue.get_timeout(PATIENCE).unwrap();
        (*task, task.deliveries())
    });
    if !fixture.caps().requeue_front {
        got.sort_unstable();
    }
    // A task that comes back is handed out before all others.
    assert_eq!(got, [(1, 1), (1, 2), (2, 1), (2, 2)]);
    assert_eq!(queue.try_get().unwrap_err(), GetError::Empty);
    until_joined(fixture, &queue);
    let failed =
        |queue: &JoinableQueue<u8>| queue.failed().unwrap().into_iter().map(Result::unwrap).collect();
    until("both fail", || Vec::len(&failed(&queue)) == 2);
    let mut both: Vec<u8> = failed(&queue);
    both.sort_unstable();
    assert_eq!(both, [1, 2]);
    assert_eq!(queue.take_failed().unwrap().len(), 2);
    assert_eq!(failed(&queue), Vec::<u8>::new());
    let error = client.joinable_queue_with::<u8>(0, 0).unwrap_err();
    assert!(matches!(error, ObjectError::Call(CallError::Fault(Fault::OutOfRange { .. }))), "{error:?}");
}

fn a_full_queue_makes_producers_wait(fixture: &dyn Fixture) {
    let (one, other) = (fixture.client(), fixture.client());
    let queue = one.named("tasks").bounded_joinable_queue::<u8>(1).unwrap();
    let is_exact = fixture.caps().exact_counts;
    assert_eq!(queue.capacity().unwrap(), Some(1));
    assert!(!is_exact || !queue.is_full().unwrap());
    queue.put(&1).unwrap();
    assert!(!is_exact || queue.is_full().unwrap());
    let mut last = 1;
    while !is_exact && queue.try_put(&(last + 1)).is_ok() {
        last += 1;
        assert!(last < 9, "the limit is about 1");
    }
    assert_eq!(queue.try_put(&9), Err(PutError::Full));
    assert_eq!(queue.put_timeout(&9, MOMENT), Err(PutError::TimedOut));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let queue = other.named("tasks").bounded_joinable_queue::<u8>(1).unwrap();
            queue.put_timeout(&9, PATIENCE).unwrap();
        });
        until_waiting(fixture, 1);
        // A task that is handed out takes no room.
        (1..=last).for_each(|task| assert_eq!(queue.get().unwrap().done(), Ok(task)));
    });
    assert_eq!(queue.get().unwrap().done(), Ok(9));
    assert!(!is_exact || queue.is_empty().unwrap());
    assert_eq!(one.joinable_queue::<u8>().unwrap().capacity().unwrap(), None);
    assert!(one.bounded_joinable_queue::<u8>(0).is_err());
}

fn a_closed_queue_ends_when_no_task_can_come_back(fixture: &dyn Fixture) {
    let (one, other) = (fixture.client(), fixture.client());
    let queue = one.named("tasks").joinable_queue::<u8>().unwrap();
    let caps = fixture.caps();
    if !caps.closes {
        return assert_closed_or_refused(queue.close(), queue.is_closed(), &caps, Kind::JoinableQueue);
    }
    queue.put(&1).unwrap();
    let task = queue.get().unwrap();
    queue.close().unwrap();
    assert!(queue.is_closed().unwrap());
    assert_eq!(queue.put(&2), Err(PutError::Closed));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let queue = other.named("tasks").joinable_queue::<u8>().unwrap();
            let again = queue.get_timeout(PATIENCE).unwrap();
            assert_eq!(again.deliveries(), 2);
            again.done().unwrap();
            queue.get_timeout(PATIENCE).map(drop)
        });
        until_waiting(fixture, 1);
        drop(task);
        assert_eq!(waiting.join().unwrap(), Err(GetError::Closed));
    });
    assert_eq!(queue.get().unwrap_err(), GetError::Closed);
}

fn a_task_keeps_the_objects_inside(fixture: &dyn Fixture) {
    let client = fixture.client();
    let queue = client.joinable_queue::<Value<u8>>().unwrap();
    queue.put(&client.value(&7).unwrap()).unwrap();
    drop(queue.get().unwrap());
    let task = queue.get().unwrap();
    assert_eq!(task.get().unwrap(), 7);
    assert_objects(fixture, 2);
    drop(task.done().unwrap());
    until_objects(fixture, "the end of what was inside", 1);
}

fn a_task_that_cannot_be_decoded_returns_to_the_queue(fixture: &dyn Fixture) {
    /// The type has the name of a number, but is not encoded as one.
    mod other {
        #[derive(serde::Serialize)]
        #[expect(non_camel_case_types, reason = "the name is the point")]
        pub(super) struct u16(pub(super) &'static str);
    }

    let client = fixture.client();
    let texts = client.named("tasks").joinable_queue_with::<other::u16>(0, 2).unwrap();
    texts.put(&other::u16("text")).unwrap();
    let queue = client.named("tasks").joinable_queue::<u16>().unwrap();
    for _ in 0..2 {
        let error = queue.try_get().unwrap_err();
        assert!(
            matches!(&error, GetError::Object(ObjectError::Decode { bytes, .. }) if bytes == b"\x04text")
        );
    }
    assert_eq!(queue.try_get().unwrap_err(), GetError::Empty);
    until("it fails", || !queue.failed().unwrap().is_empty());
    let failed = queue.failed().unwrap();
    assert!(matches!(&*failed, [Err(ObjectError::Decode { .. })]), "{failed:?}");
}

//! `Queue`.

use crate::conformance::{
    Fixture, MOMENT, PATIENCE, assert_closed_or_refused, assert_objects, not_at_once, patience, tests,
    until_objects, until_waiting,
};
use crate::limits::CAPACITY_MAX;
use crate::proto::{Fault, Kind};
use crate::{CallError, GetError, ObjectError, PutError, Value};

tests! {
    [Queue] {
        items_come_out_in_order_once_each,
        a_full_queue_makes_producers_wait,
        lengths_are_exact,
        many_items_are_put_in_one_step,
        a_dead_waiter_takes_nothing,
        a_closed_queue_can_be_emptied,
        an_item_that_cannot_be_decoded_is_an_error,
    }
    [Queue, Value] {
        an_item_keeps_the_objects_inside,
    }
}

fn items_come_out_in_order_once_each(fixture: &dyn Fixture) {
    const ITEMS: u32 = 300;
    /// What ends a consumer of a queue that cannot be closed.
    const END: u32 = u32::MAX;
    let closes = fixture.caps().closes;
    let (producer, one, other) = (fixture.client(), fixture.client(), fixture.client());
    let queue = producer.named("queue").queue::<u32>().unwrap();
    let mut got = std::thread::scope(|scope| {
        let consumers = [&one, &other].map(|client| {
            scope.spawn(move || {
                let queue = client.named("queue").queue::<u32>().unwrap();
                let items = queue.iter().take_while(|item| *item != Ok(END));
                let got: Result<Vec<u32>, GetError> = items.collect();
                got.unwrap()
            })
        });
        (0..ITEMS).for_each(|item| queue.put(&item).unwrap());
        if closes {
            queue.close().unwrap();
        } else {
            [&one, &other].iter().for_each(|_| queue.put(&END).unwrap());
        }
        consumers.map(|consumer| {
            let got = consumer.join().unwrap();
            assert!(got.is_sorted());
            got
        })
    })
    .concat();
    got.sort_unstable();
    assert_eq!(got, (0..ITEMS).collect::<Vec<_>>());
}

fn a_full_queue_makes_producers_wait(fixture: &dyn Fixture) {
    let (one, other) = (fixture.client(), fixture.client());
    let queue = one.named("queue").bounded_queue::<u8>(2).unwrap();
    let is_exact = fixture.caps().exact_counts;
    assert_eq!(queue.capacity().unwrap(), Some(2));
    assert!(!is_exact || !queue.is_full().unwrap());
    queue.put(&1).unwrap();
    queue.try_put(&2).unwrap();
    assert!(!is_exact || queue.is_full().unwrap());
    assert_eq!(queue.try_put(&3), Err(PutError::Full));
    assert_eq!(queue.put_timeout(&3, MOMENT), Err(PutError::TimedOut));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let queue = other.named("queue").bounded_queue::<u8>(9).unwrap();
            queue.put_timeout(&4, PATIENCE).unwrap();
        });
        until_waiting(fixture, 1);
        assert_eq!(queue.get(), Ok(1));
    });
    assert_eq!((queue.get(), queue.get()), (Ok(2), Ok(4)));
    assert_eq!(queue.try_get(), Err(GetError::Empty));
    assert_eq!(queue.try_get_many(1), Err(GetError::Empty));
    assert_eq!(queue.get_timeout(MOMENT), Err(GetError::TimedOut));
    assert_eq!(queue.get_many_timeout(1, MOMENT), Err(GetError::TimedOut));
    assert_eq!(queue.get_many(0).unwrap(), [0; 0]);
    assert_eq!(one.queue::<u8>().unwrap().capacity().unwrap(), None);
    assert!(!one.queue::<u8>().unwrap().is_full().unwrap());
    let most = usize::try_from(CAPACITY_MAX).unwrap();
    assert_eq!(one.bounded_queue::<u8>(most).unwrap().capacity().unwrap(), Some(most));
    for maxsize in [0, most + 1] {
        let error = one.bounded_queue::<u8>(maxsize).unwrap_err();
        assert!(matches!(error, ObjectError::Call(CallError::Fault(Fault::OutOfRange { .. }))), "{error:?}");
    }
}

fn lengths_are_exact(fixture: &dyn Fixture) {
    if !fixture.caps().exact_counts {
        return;
    }
    let (one, other) = (fixture.client(), fixture.client());
    let queue = one.named("queue").queue::<u8>().unwrap();
    let same = other.named("queue").queue::<u8>().unwrap();
    for item in 0..3 {
        assert_eq!((same.len().unwrap(), same.is_empty().unwrap()), (usize::from(item), item == 0));
        queue.put(&item).unwrap();
    }
    assert_eq!(queue.get_many(2).unwrap(), [0, 1]);
    assert_eq!(same.len().unwrap(), 1);
}

fn many_items_are_put_in_one_step(fixture: &dyn Fixture) {
    let caps = fixture.caps();
    let queue = fixture.client().bounded_queue::<String>(3).unwrap();
    let items = ["a", "b", "c", "d"].map(str::to_owned);
    let error = queue.put_many(&items).unwrap_err();
    if !caps.puts_many && !caps.atomic_put_many {
        assert_eq!(error, PutError::Object(ObjectError::Call(not_at_once(&caps, Kind::Queue))));
        assert_eq!(queue.try_get(), Err(GetError::Empty));
        return;
    }
    assert!(matches!(&error, PutError::Object(ObjectError::Call(CallError::Fault(_)))), "{error:?}");
    assert_eq!(queue.try_get(), Err(GetError::Empty));
    queue.put_many(&items[1..]).unwrap();
    let none: [String; 0] = [];
    queue.put_many(&none).unwrap();
    if caps.exact_counts {
        assert_eq!(queue.try_put("e"), Err(PutError::Full));
    }
    assert_eq!(queue.get_many(2).unwrap(), ["b", "c"]);
    assert_eq!(queue.get().unwrap(), "d");
}

fn a_dead_waiter_takes_nothing(fixture: &dyn Fixture) {
    let (dying, waiting, producer) = (fixture.client(), fixture.client(), fixture.client());
    let queue = producer.named("queue").queue::<u8>().unwrap();
    std::thread::scope(|scope| {
        let dead = scope.spawn(|| dying.named("queue").queue::<u8>().unwrap().get_timeout(patience(fixture)));
        until_waiting(fixture, 1);
        let next =
            scope.spawn(|| waiting.named("queue").queue::<u8>().unwrap().get_timeout(patience(fixture)));
        until_waiting(fixture, 2);
        fixture.kill(&dying);
        assert!(matches!(dead.join().unwrap(), Err(GetError::Object(_))));
        queue.put(&1).unwrap();
        assert_eq!(next.join().unwrap(), Ok(1));
    });
}

fn a_closed_queue_can_be_emptied(fixture: &dyn Fixture) {
    let (one, other) = (fixture.client(), fixture.client());
    let queue = one.named("queue").bounded_queue::<u8>(1).unwrap();
    let caps = fixture.caps();
    if !caps.closes {
        return assert_closed_or_refused(queue.close(), queue.is_closed(), &caps, Kind::Queue);
    }
    queue.put(&1).unwrap();
    std::thread::scope(|scope| {
        let putting = scope.spawn(|| {
            let queue = other.named("queue").bounded_queue::<u8>(1).unwrap();
            queue.put_timeout(&2, PATIENCE)
        });
        until_waiting(fixture, 1);
        assert!(!queue.is_closed().unwrap());
        queue.close().unwrap();
        assert_eq!(putting.join().unwrap(), Err(PutError::Closed));
    });
    queue.close().unwrap();
    assert!(queue.is_closed().unwrap());
    assert_eq!(queue.try_put(&3), Err(PutError::Closed));
    assert_eq!(queue.get(), Ok(1));
    assert_eq!(queue.get(), Err(GetError::Closed));
    assert_eq!(queue.get_many(2), Err(GetError::Closed));

    let waited_for = one.named("empty").queue::<u8>().unwrap();
    std::thread::scope(|scope| {
        let getting = scope.spawn(|| other.named("empty").queue::<u8>().unwrap().get_timeout(PATIENCE));
        until_waiting(fixture, 1);
        waited_for.close().unwrap();
        assert_eq!(getting.join().unwrap(), Err(GetError::Closed));
    });
}

fn an_item_keeps_the_objects_inside(fixture: &dyn Fixture) {
    let (one, other) = (fixture.client(), fixture.client());
    let queue = one.named("queue").queue::<Value<u8>>().unwrap();
    for number in 0..3 {
        queue.put(&one.value(&number).unwrap()).unwrap();
    }
    let same = other.named("queue").queue::<Value<u8>>().unwrap();
    let first = same.get().unwrap();
    assert_eq!(first.get().unwrap(), 0);
    assert_objects(fixture, 4);
    drop((first, same.get_many(2).unwrap()));
    until_objects(fixture, "the end of all", 1);
}

fn an_item_that_cannot_be_decoded_is_an_error(fixture: &dyn Fixture) {
    /// The type has the name of a number, but is not encoded as one.
    mod other {
        #[derive(serde::Serialize)]
        #[expect(non_camel_case_types, reason = "the name is the point")]
        pub(super) struct u16(pub(super) &'static str);
    }

    let client = fixture.client();
    let texts = client.named("queue").queue::<other::u16>().unwrap();
    let queue = client.named("queue").queue::<u16>().unwrap();
    texts.put(&other::u16("text")).unwrap();
    queue.put(&7).unwrap();
    let error = queue.get().unwrap_err();
    assert!(matches!(&error, GetError::Object(ObjectError::Decode { bytes, .. }) if bytes == b"\x04text"));
    assert_eq!(queue.get(), Ok(7));
    assert_eq!(client.named("queue").queue::<u8>().unwrap_err(), ObjectError::WrongType);
}

//! Objects in shared memory through pipes: many of them, through many hands, and of the wrong type.

use std::os::fd::AsFd;

use mp::{Connection, RawValue, Receiver, RecvError, Value, duplex, pipe};
use mp_sys::testing::{PATIENCE, spawn, succeeded, tests};

use crate::travel::{Everything, Kit, Memory};

tests! {
    every_object_comes_back_from_a_child_and_outlives_it,
    many_objects_fit_into_one_message,
    an_object_goes_through_many_hands,
    another_type_of_message_is_refused,
    another_type_of_object_is_refused,
}

fn every_object_comes_back_from_a_child_and_outlives_it() {
    let (here, there) = duplex::<Everything, Everything>().unwrap();
    let child = spawn(|| {
        // The child's own objects, in memory that the parent never had.
        let own = Everything::new();
        there.send(&own).unwrap();
        Memory::there(&own);
        // The same objects again, in the other direction.
        there.recv_timeout(PATIENCE).unwrap().look_at_what_is_left();
    });
    let all = here.recv_timeout(PATIENCE).unwrap();
    all.look_at_each();
    here.send(&all).unwrap();
    succeeded(&child);
    all.look_at_what_is_left();
    assert_eq!(all.value.replace([9; 3]), Ok([2, 0, 0]));
}

fn many_objects_fit_into_one_message() {
    const MANY: usize = 5000;
    let (sender, receiver) = pipe::<Vec<RawValue<u64>>>().unwrap();
    let child = spawn(|| {
        let values = receiver.recv_timeout(PATIENCE).unwrap();
        values.iter().zip(0..).for_each(|(value, n)| assert_eq!(value.fetch_add(1), n));
    });
    // All objects of one chunk need one descriptor, so a message may contain more objects than it may have descriptors.
    let values: Vec<_> = (0..MANY as u64).map(|n| RawValue::new(n).unwrap()).collect();
    sender.send(&values).unwrap();
    succeeded(&child);
    assert!(values.iter().zip(1..).all(|(value, n)| value.load() == n));
}

fn an_object_goes_through_many_hands() {
    type Ends = (Connection<Value<u64>, Value<u64>>, Connection<Value<u64>, Value<u64>>);
    const HANDS: usize = 5;
    let links: Vec<Ends> = (0..=HANDS).map(|_| duplex().unwrap()).collect();
    let children: Vec<_> = links
        .windows(2)
        .map(|links| {
            spawn(|| {
                let value = links[0].1.recv_timeout(PATIENCE).unwrap();
                value.update(|n| n + 1).unwrap();
                links[1].0.send(&value).unwrap();
            })
        })
        .collect();
    let value = Value::new(10_u64).unwrap();
    links[0].0.send(&value).unwrap();
    let arrived = links[HANDS].1.recv_timeout(PATIENCE).unwrap();
    // The processes in between have dropped their handles.
    children.iter().for_each(succeeded);
    arrived.update(|n| n * 2).unwrap();
    assert_eq!(value.get(), Ok(30));
}

/// Returns the same end, as in a program that expects another type.
fn as_other<T, U>(receiver: &Receiver<T>) -> Receiver<U> {
    Receiver::from_fd(receiver.as_fd().try_clone_to_owned().unwrap()).unwrap()
}

fn another_type_of_message_is_refused() {
    let (sender, receiver) = pipe::<Value<u32>>().unwrap();
    let child = spawn(|| {
        let other = as_other::<_, Value<i32>>(&receiver);
        let refused = other.recv_timeout(PATIENCE).unwrap_err();
        assert!(matches!(refused, RecvError::WrongType { .. }), "{refused:?}");
        assert!(refused.to_string().contains("type"), "{refused}");
        // The stream can still be used.
        assert_eq!(receiver.recv_timeout(PATIENCE).unwrap().get(), Ok(6));
    });
    for n in [5, 6] {
        sender.send(&Value::new(n).unwrap()).unwrap();
    }
    succeeded(&child);
}

/// Two programs with different types of the same name.
mod sends {
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    pub(super) struct Job(pub(super) mp::Value<u32>);
}

mod expects {
    #[derive(Debug, serde::Deserialize)]
    pub(super) struct Job(#[expect(dead_code, reason = "never decoded")] pub(super) mp::Value<f32>);
}

fn another_type_of_object_is_refused() {
    let (sender, receiver) = pipe::<sends::Job>().unwrap();
    let child = spawn(|| {
        let refused = as_other::<_, expects::Job>(&receiver).recv_timeout(PATIENCE).unwrap_err();
        let RecvError::Decode { reason, .. } = refused else { panic!("{refused:?}") };
        assert!(reason.contains("another kind of object"), "{reason}");
    });
    let value = Value::new(5).unwrap();
    sender.send(&sends::Job(value)).unwrap();
    succeeded(&child);
}

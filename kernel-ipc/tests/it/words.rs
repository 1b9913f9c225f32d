//! Errors of a user's own types in encoding and decoding, and types whose values cannot travel.

use kernel_ipc::{
    GetError, JoinableQueue, PutError, PutManyError, Queue, RecvError, SendError, SimpleQueue, duplex, pipe,
};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Cannot be encoded if it is negative, and cannot be decoded above 100.
#[derive(Debug, PartialEq, Clone, Copy)]
struct Percent(i32);

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0 < 0 {
            return Err(S::Error::custom(format!("{} % is less than nothing", self.0)));
        }
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match i32::deserialize(from)? {
            number if number > 100 => Err(D::Error::custom(format!("{number} % is more than all"))),
            number => Ok(Self(number)),
        }
    }
}

/// Has the encoding and the name of a [`Percent`], as in another program.
mod elsewhere {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) struct Percent(pub(super) i32);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Shape {
    Circle { radius: u32 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sparse {
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    number: u32,
}

const LESS: &str = "-1 % is less than nothing";
const MORE: &str = "101 % is more than all";

#[test]
fn the_words_of_the_type_that_refuses_to_be_encoded_reach_the_sender() {
    let (tx, _rx) = pipe::<Vec<Percent>>().unwrap();
    assert_eq!(tx.send(&vec![Percent(1), Percent(-1)]), Err(SendError::Encode(LESS.to_owned())));
    let queue = Queue::<(u8, Percent)>::new().unwrap();
    assert_eq!(queue.put(&(1, Percent(-1))), Err(PutError::Encode(LESS.to_owned())));
    let many = queue.put_many(&[(1, Percent(1)), (2, Percent(-1))]);
    assert_eq!(many, Err(PutManyError { put: 0, error: PutError::Encode(LESS.to_owned()) }));
    assert!(queue.is_empty());
}

#[test]
fn the_words_of_the_type_that_refuses_to_be_decoded_reach_the_receiver() {
    let (tx, rx) = pipe::<elsewhere::Percent>().unwrap();
    let file = std::os::fd::AsFd::as_fd(&rx).try_clone_to_owned().unwrap();
    let rx = kernel_ipc::Receiver::<Percent>::from_fd(file).unwrap();
    tx.send(&elsewhere::Percent(101)).unwrap();
    let Err(RecvError::Decode { reason, bytes }) = rx.recv() else { panic!("101 % were received") };
    assert_eq!((reason.as_str(), bytes), (MORE, postcard_of(101)));

    let queue = Queue::<Percent>::new().unwrap();
    queue.put_bytes(&postcard_of(101)).unwrap();
    let Err(GetError::Decode { reason, .. }) = queue.get() else { panic!("101 % were taken") };
    assert_eq!(reason, MORE);
}

/// Returns the encoding of an `i32`: zigzag, with seven bits in each byte.
fn postcard_of(number: u8) -> Vec<u8> {
    let zigzag = u16::from(number) * 2;
    vec![u8::try_from(zigzag & 0x7f).unwrap() | 0x80, u8::try_from(zigzag >> 7).unwrap()]
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only builds with debug assertions check for it")]
fn a_value_that_nobody_could_decode_is_not_sent() {
    let shape = Shape::Circle { radius: 1 };
    let is_told = |reason: &str| assert!(reason.contains("have a `tag`"), "{reason}");
    let (tx, rx) = pipe::<Shape>().unwrap();
    let Err(SendError::Encode(reason)) = tx.send(&shape) else { panic!("a tagged enum was sent") };
    is_told(&reason);
    assert_eq!(rx.try_recv(), Err(RecvError::Empty));
    let (asks, _answers) = duplex::<Shape, u8>().unwrap();
    assert!(matches!(asks.send(&shape), Err(SendError::Encode(_))));
    let Err(PutError::Encode(reason)) = Queue::new().unwrap().put(&shape) else { panic!("it was put") };
    is_told(&reason);
    let Err(PutError::Encode(reason)) = JoinableQueue::new().unwrap().put(&shape) else {
        panic!("it was put")
    };
    is_told(&reason);
    assert!(matches!(SimpleQueue::new().unwrap().put(&shape), Err(PutError::Encode(_))));
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only builds with debug assertions check for it")]
fn a_value_from_which_a_field_was_left_out_is_not_sent() {
    let (tx, rx) = pipe::<Sparse>().unwrap();
    let Err(SendError::Encode(reason)) = tx.send(&Sparse { note: None, number: 7 }) else {
        panic!("it was sent")
    };
    assert!(reason.contains("the field `note` of `Sparse`"), "{reason}");
    let whole = Sparse { note: Some("there".to_owned()), number: 7 };
    tx.send(&whole).unwrap();
    assert_eq!(rx.recv(), Ok(whole));
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only builds with debug assertions check for it")]
fn received_ends_and_queues_check_their_values_too() {
    let (carry, carried) = pipe::<(kernel_ipc::Sender<Shape>, Queue<Shape>)>().unwrap();
    let (tx, _rx) = pipe::<Shape>().unwrap();
    carry.send(&(tx, Queue::new().unwrap())).unwrap();
    let (tx, queue) = carried.recv().unwrap();
    assert!(matches!(tx.send(&Shape::Circle { radius: 1 }), Err(SendError::Encode(_))));
    assert!(matches!(queue.put(&Shape::Circle { radius: 1 }), Err(PutError::Encode(_))));
}

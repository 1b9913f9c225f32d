//! Queues inside messages.

use std::marker::PhantomData;

use kernel_ipc::{JoinableQueue, PutError, Queue, RecvError, pipe};
use mp_sys::testing::{spawn, succeeded, tests};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

tests! {
    a_queue_arrives_as_the_same_queue,
    a_queue_arrives_in_a_process_that_did_not_inherit_it,
    a_queue_of_another_type_is_refused,
    a_queue_of_another_kind_is_refused,
    a_queue_does_not_travel_in_a_queue,
    a_queue_is_mapped_once,
}

fn a_queue_arrives_as_the_same_queue() {
    let (sender, receiver) = pipe::<Queue<u32>>().unwrap();
    let queue = Queue::bounded(2).unwrap();
    queue.put(&1).unwrap();
    sender.send(&queue).unwrap();
    let arrived = receiver.recv().unwrap();
    assert_eq!(arrived.get(), Ok(1));
    assert_eq!(arrived.capacity(), Some(2));
    arrived.put(&2).unwrap();
    drop(arrived);
    assert_eq!(queue.get(), Ok(2));
}

fn a_queue_arrives_in_a_process_that_did_not_inherit_it() {
    let (sender, receiver) = pipe::<(Queue<String>, Queue<usize>)>().unwrap();
    let child = spawn(|| {
        let (words, lengths) = receiver.recv().unwrap();
        for word in &words {
            lengths.put(&word.unwrap().len()).unwrap();
        }
        lengths.close().unwrap();
    });
    let (words, lengths) = (Queue::new().unwrap(), Queue::new().unwrap());
    sender.send(&(words.clone(), lengths.clone())).unwrap();
    let long = "x".repeat(300_000);
    for word in ["a", "bc", &long] {
        words.put(&word.to_owned()).unwrap();
    }
    words.close().unwrap();
    assert_eq!(lengths.iter().collect::<Result<Vec<_>, _>>(), Ok(vec![1, 2, 300_000]));
    succeeded(&child);
}

fn a_queue_of_another_type_is_refused() {
    let (sender, receiver) = pipe::<Vec<Queue<u32>>>().unwrap();
    let queue = Queue::<u32>::new().unwrap();
    sender.send(&vec![queue.clone(), queue]).unwrap();
    assert_eq!(receiver.recv().unwrap().len(), 2, "one queue may travel twice in a message");
    // An untyped tool in between could send the same bytes under another type.
    is_refused::<Queue<u32>, Queue<i32>>(Queue::new().unwrap());
}

fn a_queue_of_another_kind_is_refused() {
    is_refused::<Queue<u32>, JoinableQueue<u32>>(Queue::new().unwrap());
    is_refused::<JoinableQueue<u32>, Queue<u32>>(JoinableQueue::new().unwrap());
}

/// Checks that `queue` is refused as a `B`, both while it is open here and in a process that has not mapped it.
fn is_refused<A: Serialize + DeserializeOwned, B: DeserializeOwned>(queue: A) {
    let (out, back) = pipe::<Impostor<A, B>>().unwrap();
    let refused = || {
        let refused = back.recv().map(drop).unwrap_err();
        assert!(matches!(refused, RecvError::Decode { .. }), "{refused:?}");
    };
    let impostor = Impostor(Some(queue), PhantomData);
    for _ in 0..2 {
        out.send(&impostor).unwrap();
    }
    refused();
    drop(impostor);
    refused();
}

/// Encodes one type of queue and decodes it as another.
struct Impostor<A, B>(Option<A>, PhantomData<B>);

impl<A: Serialize, B> Serialize for Impostor<A, B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().ok_or_else(|| serde::ser::Error::custom("nothing"))?.serialize(serializer)
    }
}

impl<'de, A, B: Deserialize<'de>> Deserialize<'de> for Impostor<A, B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        B::deserialize(deserializer).map(|_| Self(None, PhantomData))
    }
}

fn a_queue_does_not_travel_in_a_queue() {
    let queues = Queue::<Queue<u32>>::new().unwrap();
    let refused = queues.put(&Queue::new().unwrap()).unwrap_err();
    let PutError::Encode(reason) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("pipe"), "{reason}");
    assert!(queues.is_empty());
    let text = serde_json::to_string(&Queue::<u32>::new().unwrap()).unwrap_err().to_string();
    assert!(text.contains("pipe"), "{text}");
}

fn a_queue_is_mapped_once() {
    let (sender, receiver) = pipe::<Queue<u32>>().unwrap();
    let queue = Queue::new().unwrap();
    let maps = || std::fs::read_to_string("/proc/self/maps").unwrap().matches("memfd:mp").count();
    sender.send(&queue).unwrap();
    let before = maps();
    let arrived = receiver.recv().unwrap();
    assert_eq!(maps(), before);
    drop(queue);
    arrived.put(&1).unwrap();
    // A process without any other handle sends the queue and receives it again.
    sender.send(&arrived).unwrap();
    drop(arrived);
    assert_eq!(receiver.recv().unwrap().get(), Ok(1));
}

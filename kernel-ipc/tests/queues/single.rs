//! The behaviour of queues within one process.

use std::time::Duration;

use kernel_ipc::{CreateError, GetError, PutError, Queue};
use mp_sys::testing::tests;

tests! {
    items_come_out_in_order,
    counts_are_exact,
    a_full_queue_refuses_items,
    a_full_queue_of_bytes_refuses_items,
    waits_end_with_their_timeout,
    a_closed_queue_still_returns_its_items,
    a_queue_without_room_is_refused,
    an_item_that_cannot_be_decoded_comes_with_its_bytes,
    bytes_stay_as_they_are,
    an_item_that_does_not_fit_into_the_buffer_stays,
    batches_keep_order_and_items,
    a_batch_is_put_as_far_as_there_is_room,
    items_of_all_sizes,
    user_code_runs_without_the_locks,
}

fn items_come_out_in_order() {
    let queue = Queue::new().unwrap();
    for n in 0..100_000_u32 {
        queue.put(&n).unwrap();
    }
    for n in 0..100_000 {
        assert_eq!(queue.get(), Ok(n));
    }
    assert_eq!(queue.try_get(), Err(GetError::Empty));
}

fn counts_are_exact() {
    let queue = Queue::bounded(3).unwrap();
    assert_eq!((queue.len(), queue.is_empty(), queue.is_full(), queue.capacity()), (0, true, false, Some(3)));
    for n in 1..=3 {
        queue.put(&0_u8).unwrap();
        assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (n, false, n == 3));
    }
    queue.get().unwrap();
    assert_eq!((queue.len(), queue.is_full()), (2, false));
    assert_eq!(Queue::<u8>::new().unwrap().capacity(), None);
}

fn a_full_queue_refuses_items() {
    let queue = Queue::bounded(2).unwrap();
    queue.put_many(&[1, 2]).unwrap();
    assert_eq!(queue.try_put(&3), Err(PutError::Full));
    assert_eq!(queue.get(), Ok(1));
    queue.try_put(&4).unwrap();
    assert_eq!(queue.get_many(9).unwrap().collect::<Result<Vec<_>, _>>(), Ok(vec![2, 4]));
}

fn a_full_queue_of_bytes_refuses_items() {
    // Each item of 8 bytes counts as 16.
    let queue = Queue::<()>::bounded_bytes(48).unwrap();
    for _ in 0..3 {
        assert!(!queue.is_full());
        queue.try_put_bytes(&[0; 8]).unwrap();
    }
    assert!(queue.is_full());
    assert_eq!(queue.try_put_bytes(&[]), Err(PutError::Full));
    queue.get_bytes().unwrap();
    assert_eq!(queue.try_put_bytes(&[0; 9]), Err(PutError::Full));
    queue.try_put_bytes(&[]).unwrap();
    queue.try_put_bytes(&[]).unwrap();
    assert_eq!(queue.try_put_bytes(&[0; 41]), Err(PutError::TooLarge { found: 41, limit: 48 }));
}

fn waits_end_with_their_timeout() {
    let queue = Queue::bounded(1).unwrap();
    let timeout = Duration::from_millis(60);
    assert_eq!(queue.get_timeout(timeout), Err(GetError::TimedOut));
    assert_eq!(queue.get_many_timeout(4, timeout).unwrap_err(), GetError::TimedOut);
    queue.put(&1).unwrap();
    assert_eq!(queue.put_timeout(&2, timeout), Err(PutError::TimedOut));
    assert_eq!(queue.get_timeout(timeout), Ok(1));
    assert_eq!(queue.get_timeout(Duration::ZERO), Err(GetError::TimedOut));
    queue.put_timeout(&3, Duration::ZERO).unwrap();
    assert_eq!(queue.get_timeout(Duration::MAX), Ok(3));
}

fn a_closed_queue_still_returns_its_items() {
    let queue = Queue::new().unwrap();
    queue.put_many(&[1, 2]).unwrap();
    queue.close().unwrap();
    queue.close().unwrap();
    assert!(queue.is_closed());
    assert_eq!(queue.put(&3), Err(PutError::Closed));
    assert_eq!(queue.put_many(&[3]).unwrap_err().error, PutError::Closed);
    assert_eq!(queue.iter().collect::<Result<Vec<_>, _>>(), Ok(vec![1, 2]));
    assert_eq!(queue.try_get(), Err(GetError::Closed));
    assert_eq!(queue.get_timeout(Duration::MAX), Err(GetError::Closed));
}

fn a_queue_without_room_is_refused() {
    assert_eq!(Queue::<u8>::bounded(0).unwrap_err(), CreateError::NoCapacity);
    assert_eq!(Queue::<u8>::bounded_bytes(7).unwrap_err(), CreateError::NoCapacity);
    Queue::<()>::bounded_bytes(8).unwrap().try_put(&()).unwrap();
    let max = kernel_ipc::limits::CAPACITY_MAX;
    assert_eq!(Queue::<u8>::bounded(max).unwrap().capacity(), Some(max));
    assert_eq!(Queue::<u8>::bounded(max + 1).unwrap_err(), CreateError::CapacityTooLarge);
}

fn an_item_that_cannot_be_decoded_comes_with_its_bytes() {
    let queue = Queue::<bool>::new().unwrap();
    queue.put_bytes(&[7]).unwrap();
    queue.put_bytes(&[1, 1]).unwrap();
    queue.put(&true).unwrap();
    for expected in [vec![7], vec![1, 1]] {
        let error = queue.get().unwrap_err();
        assert!(matches!(error, GetError::Decode { ref bytes, .. } if *bytes == expected), "{error:?}");
    }
    assert_eq!(queue.get(), Ok(true));
    queue.put_bytes(&[7]).unwrap();
    queue.put(&false).unwrap();
    let mut batch = queue.get_many(2).unwrap();
    assert_eq!(batch.len(), 2);
    assert!(matches!(batch.next(), Some(Err(GetError::Decode { .. }))));
    assert_eq!(batch.next(), Some(Ok(false)));
    assert_eq!(batch.next(), None);
}

fn bytes_stay_as_they_are() {
    let queue = Queue::<()>::new().unwrap();
    let long: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    for item in [&[][..], &[1], &[2; 9], &long] {
        queue.put_bytes(item).unwrap();
    }
    let mut buffer = vec![0xff; 100_000];
    assert_eq!(queue.get_bytes_into(&mut buffer), Ok(0));
    assert_eq!(queue.get_bytes_into(&mut buffer), Ok(1));
    assert_eq!(buffer[..2], [1, 0xff]);
    assert_eq!(queue.get_bytes(), Ok(vec![2; 9]));
    assert_eq!(queue.try_get_bytes(), Ok(long));
    assert_eq!(queue.try_get_bytes(), Err(GetError::Empty));
    queue.put_many_bytes(&[&[1][..], &[], &[2, 3]]).unwrap();
    let mut batch = queue.get_many(8).unwrap();
    assert_eq!(batch.next_bytes(), Some(&[1][..]));
    assert_eq!(batch.next_bytes(), Some(&[][..]));
    assert_eq!(batch.next_bytes(), Some(&[2, 3][..]));
    assert_eq!(batch.next_bytes(), None);
    queue.put_many_bytes(&[&[1][..], &[], &[2, 3]]).unwrap();
    let mut batch = queue.get_many(8).unwrap();
    assert_eq!(batch.next_bytes(), Some(&[1][..]));
    let (bytes, lens) = batch.into_bytes();
    assert_eq!((bytes, lens.collect::<Vec<_>>()), (vec![2, 3], vec![0, 2]));
}

fn an_item_that_does_not_fit_into_the_buffer_stays() {
    let queue = Queue::<()>::new().unwrap();
    queue.put_bytes(&[5; 10]).unwrap();
    assert_eq!(queue.get_bytes_into(&mut [0; 9]), Err(GetError::TooLarge { found: 10, limit: 9 }));
    assert_eq!(queue.len(), 1);
    assert_eq!(queue.get_bytes_into(&mut [0; 10]), Ok(10));
}

fn batches_keep_order_and_items() {
    let queue = Queue::new().unwrap();
    let items: Vec<String> = (0..5_000).map(|n| "x".repeat(n % 300)).collect();
    queue.put_many(&items).unwrap();
    assert_eq!(queue.len(), items.len());
    let mut got = Vec::new();
    while let Ok(batch) = queue.try_get_many(7) {
        assert!((1..=7).contains(&batch.len()));
        got.extend(batch.map(Result::unwrap));
    }
    assert_eq!(got, items);
    assert_eq!(queue.get_many(0).unwrap().len(), 0);
    let none: [String; 0] = [];
    queue.put_many(&none).unwrap();
    assert!(queue.is_empty());
}

fn a_batch_is_put_as_far_as_there_is_room() {
    let queue = Queue::<Vec<u8>>::bounded_bytes(64).unwrap();
    // The second item can never fit, so nothing is put.
    let refused = queue.put_many(&[vec![1], vec![0; 100]]).unwrap_err();
    assert_eq!(refused.put, 0);
    assert!(matches!(refused.error, PutError::TooLarge { found: 101, limit: 64 }));
    assert!(queue.is_empty());
}

fn items_of_all_sizes() {
    let queue = Queue::new().unwrap();
    let sizes = [0, 1, 255, 256, 257, 60_000, 65_464, 65_472, 262_144, 300_000, 5 << 20, 1, 70_000];
    for round in 0..3_u8 {
        for size in sizes {
            queue.put(&vec![round; size]).unwrap();
        }
        for size in sizes {
            assert_eq!(queue.get().unwrap(), vec![round; size]);
        }
    }
}

/// An item whose own code uses the queue that it is put into: `as_ref`, `serialize`, `deserialize` and `drop`.
struct Nosy(Queue<Self>);

impl AsRef<[u8]> for Nosy {
    fn as_ref(&self) -> &[u8] {
        self.use_queue();
        b"as bytes"
    }
}

impl serde::Serialize for Nosy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.use_queue();
        serializer.serialize_u8(9)
    }
}

impl<'de> serde::Deserialize<'de> for Nosy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let queue = OWN.with_borrow(|own| own.clone().unwrap());
        u8::deserialize(deserializer)?;
        let nosy = Self(queue);
        nosy.use_queue();
        Ok(nosy)
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        self.use_queue();
    }
}

impl Nosy {
    fn use_queue(&self) {
        self.0.try_put_bytes(b"inner").unwrap();
        assert_eq!(self.0.try_get_bytes().unwrap(), b"inner");
    }
}

thread_local! {
    static OWN: std::cell::RefCell<Option<Queue<Nosy>>> = const { std::cell::RefCell::new(None) };
}

/// The queue is empty whenever user code runs, so that this code gets the item that it put.
fn user_code_runs_without_the_locks() {
    let queue = Queue::<Nosy>::new().unwrap();
    OWN.set(Some(queue.clone()));
    for count in [1, 2, 32, 33, 100] {
        let items: Vec<Nosy> = (0..count).map(|_| Nosy(queue.clone())).collect();
        queue.put_many_bytes(&items).unwrap();
        assert_eq!(queue.len(), count);
        for _ in 0..count {
            assert_eq!(queue.get_bytes().unwrap(), b"as bytes");
        }
        queue.put_many(&items).unwrap();
        for _ in 0..count {
            assert_eq!(queue.get_bytes().unwrap(), [9]);
        }
    }
    let item = Nosy(queue.clone());
    queue.put(&item).unwrap();
    drop(queue.get().unwrap());
    queue.put(&item).unwrap();
    assert_eq!(queue.get_many(9).unwrap().map(|item| drop(item.unwrap())).count(), 1);
    drop(item);
    OWN.take();
}

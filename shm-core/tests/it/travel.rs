//! Handles in messages: the same object arrives, or an error is returned, but the same bytes never arrive as another type.

use std::os::fd::OwnedFd;

use mp_sys::travel::{self, TravelError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shm_core::{
    Array, Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, RawArray, RawValue, RwLock, Semaphore,
    SharedMemory, Value, named,
};

/// A message on its way.
struct Message {
    bytes: Vec<u8>,
    files: Vec<OwnedFd>,
}

fn send<T: Serialize>(value: &T) -> Message {
    let (bytes, luggage) = travel::encode(253, || postcard::to_stdvec(value));
    let files = luggage.descriptors.iter().map(|file| file.try_clone().unwrap()).collect();
    Message { bytes: bytes.unwrap(), files }
}

fn arrive<T: DeserializeOwned>(message: Message) -> Result<T, TravelError> {
    let (value, refused) = travel::decode(message.files, || postcard::from_bytes(&message.bytes));
    value.map_err(|_: postcard::Error| refused.unwrap_or(TravelError::NotCarried))
}

fn through<T: Serialize + DeserializeOwned>(value: &T) -> T {
    arrive(send(value)).unwrap()
}

#[test]
fn every_object_arrives_as_itself() {
    let value = Value::new([1_u64, 2, 3]).unwrap();
    through(&value).set([4, 5, 6]).unwrap();
    assert_eq!(value.get(), Ok([4, 5, 6]));

    let raw = RawValue::new(7_i16).unwrap();
    through(&raw).fetch_add(1);
    assert_eq!(raw.load(), 8);

    let array = Array::from_slice(&[1_u32, 2, 3]).unwrap();
    let twin = through(&array);
    twin.set(2, 9).unwrap();
    assert_eq!((twin.len(), array.to_vec().unwrap()), (3, vec![1, 2, 9]));

    let raw_array = RawArray::<f64>::zeroed(100_000).unwrap();
    through(&raw_array).set(99_999, 0.5).unwrap();
    assert_eq!(raw_array.get(99_999), Ok(0.5));

    let memory = SharedMemory::new(100_001).unwrap();
    let twin = through(&memory);
    twin.write_at(100_000, b"!").unwrap();
    assert_eq!((twin.len(), memory.read(99_999..100_001).unwrap()), (100_001, vec![0, b'!']));

    let lock = Lock::new().unwrap();
    let twin = through(&lock);
    let guard = twin.lock().unwrap();
    assert!(lock.try_lock().is_err());
    drop(guard);
    assert!(lock.try_lock().is_ok());

    let rlock = RLock::new().unwrap();
    let twin = through(&rlock);
    let outer = rlock.lock().unwrap();
    let inner = twin.lock().unwrap();
    drop((outer, inner));

    let rwlock = RwLock::new([1_u8; 5]).unwrap();
    through(&rwlock).write().unwrap()[4] = 2;
    assert_eq!(*rwlock.read().unwrap(), [1, 1, 1, 1, 2]);

    let semaphore = Semaphore::new(2).unwrap();
    let twin = through(&semaphore);
    let permit = twin.acquire();
    assert_eq!(semaphore.available(), 1);
    drop(permit);
    let bounded = BoundedSemaphore::new(1).unwrap();
    assert!(through(&bounded).add_permits(1).is_err());

    let event = Event::new().unwrap();
    through(&event).set();
    assert!(event.is_set());

    let condition = Condition::new().unwrap();
    assert_eq!(through(&condition).notify_all(), 0);

    let barrier = Barrier::new(1).unwrap();
    let twin = through(&barrier);
    assert_eq!(twin.parties(), 1);
    twin.abort().unwrap();
    assert!(barrier.is_broken().unwrap());
}

#[test]
fn a_chunk_is_mapped_and_sent_once() {
    let values: Vec<Value<u32>> = (0..300).map(|n| Value::new(n).unwrap()).collect();
    let message = send(&values);
    // Other tests create chunks at the same moment, but not one for each value.
    assert!(message.files.len() < 10, "{} descriptors", message.files.len());
    let arrived: Vec<Value<u32>> = arrive(message).unwrap();
    for (n, value) in arrived.iter().enumerate() {
        assert_eq!(value.get(), Ok(u32::try_from(n).unwrap()));
    }
}

#[test]
fn a_handle_that_arrived_keeps_the_object() {
    let message = send(&Value::new(5_u64).unwrap());
    // The first handle was dropped, and its place is not used for other objects.
    let others: Vec<Value<u64>> = (0..1000).map(|_| Value::new(6).unwrap()).collect();
    let value: Value<u64> = arrive(message).unwrap();
    assert_eq!(value.get(), Ok(5));
    drop(others);
    assert_eq!(value.get(), Ok(5));
}

#[test]
fn a_handle_never_arrives_as_another_type() {
    let value = Value::new(5_u64).unwrap();
    let refused = |outcome| matches!(outcome, Err(TravelError::OtherObject));
    assert!(refused(arrive::<Value<i64>>(send(&value)).map(drop)));
    assert!(refused(arrive::<Value<u32>>(send(&value)).map(drop)));
    assert!(refused(arrive::<RawValue<u64>>(send(&value)).map(drop)));
    assert!(refused(arrive::<Array<u64>>(send(&value)).map(drop)));
    assert!(refused(arrive::<RawArray<u8>>(send(&value)).map(drop)));
    assert!(refused(arrive::<Lock>(send(&value)).map(drop)));
    let lock = Lock::new().unwrap();
    assert!(refused(arrive::<RLock>(send(&lock)).map(drop)));
    assert!(refused(arrive::<RwLock<u64>>(send(&value)).map(drop)));
    let event = Event::new().unwrap();
    assert!(refused(arrive::<RawValue<u32>>(send(&event)).map(drop)));
    let semaphore = BoundedSemaphore::new(1).unwrap();
    assert!(refused(arrive::<Semaphore>(send(&semaphore)).map(drop)));
}

/// The encoded form of a handle in a message.
type Form = ([u64; 6], String);

/// Returns the message with changed contents.
fn forged(message: Message, change: impl FnOnce(&mut [u64; 6])) -> Message {
    let mut form: Form = postcard::from_bytes(&message.bytes).unwrap();
    change(&mut form.0);
    Message { bytes: postcard::to_stdvec(&form).unwrap(), files: message.files }
}

#[test]
fn a_forged_message_reaches_no_other_bytes() {
    let array = RawArray::from_slice(&[0_u64; 64]).unwrap();
    let never_sent = RawArray::from_slice(&[0_u64; 64]).unwrap();
    let fields = postcard::from_bytes::<Form>(&send(&array).bytes).unwrap().0;
    let [_, at, length, what, print, count] = fields;
    let try_with = |fields: [u64; 6]| {
        let message = forged(send(&array), |form| *form = fields);
        arrive::<RawArray<u64>>(message).map(drop)
    };
    assert_eq!(try_with(fields), Ok(()));
    for index in [1, 2, u64::MAX] {
        assert_eq!(try_with([index, at, length, what, print, count]), Err(TravelError::NotCarried));
    }
    // Its neighbours, one of which is `never_sent`; the middle of it; something that is no place; and beyond the end.
    for other in [at + 512, at.wrapping_sub(512), at + 64, at + 8, 0, 64, 1 << 20, 1 << 40, u64::MAX] {
        let outcome = try_with([0, other, length, what, print, count]);
        assert_eq!(outcome, Err(TravelError::OtherObject), "at {other}");
    }
    for other in [length - 1, length + 64, length + (1 << 48), 0, u64::MAX] {
        assert_eq!(try_with([0, at, other, what, print, count]), Err(TravelError::OtherObject));
    }
    for other in [count + 1, 0, u64::MAX] {
        assert_eq!(try_with([0, at, length, what, print, other]), Err(TravelError::OtherObject));
    }
    assert_eq!(try_with([0, at, length, what, print ^ 1, count]), Err(TravelError::OtherObject));
    // Another kind, another class, and neither.
    for other in [what ^ 1, what ^ 0x100, what + 0x1_0000, 0, u64::MAX] {
        assert_eq!(try_with([0, at, length, other, print, count]), Err(TravelError::OtherObject));
    }
    drop(never_sent);
}

#[test]
fn memory_that_is_no_chunk_is_refused() {
    let value = Value::new(1_u8).unwrap();
    let with = |file: OwnedFd| {
        let message = Message { bytes: send(&value).bytes, files: vec![file] };
        arrive::<Value<u8>>(message).map(drop)
    };
    let sealed = |bytes: u64| {
        let file = mp_sys::memory::make_memfd().unwrap();
        rustix::fs::ftruncate(&file, bytes).unwrap();
        rustix::fs::fcntl_add_seals(&file, rustix::fs::SealFlags::SHRINK).unwrap();
        file
    };
    assert_eq!(with(sealed(0)), Err(TravelError::NoChunk));
    assert_eq!(with(sealed(1 << 20)), Err(TravelError::NoChunk));
    assert!(with(mp_sys::payload::seal(&[&[0; 4096]]).unwrap()).is_err(), "it cannot be mapped for writing");
    assert_eq!(with(std::fs::File::open("/dev/null").unwrap().into()), Err(TravelError::NoChunk));
    // The right bytes in a file that could still be cut.
    let open = mp_sys::memory::make_memfd().unwrap();
    rustix::fs::ftruncate(&open, 1 << 21).unwrap();
    let header = std::fs::File::from(send(&value).files.remove(0).try_clone().unwrap());
    let mut start = [0; 64];
    std::os::unix::fs::FileExt::read_exact_at(&header, &mut start, 0).unwrap();
    let open = std::fs::File::from(open);
    std::os::unix::fs::FileExt::write_all_at(&open, &start, 0).unwrap();
    assert_eq!(with(open.into()), Err(TravelError::NoChunk));
}

#[test]
fn an_object_with_a_name_travels_by_its_name() {
    let name = format!("travel-{}", mp_sys::deadline::now_nanos());
    let value = Value::create(&name, 5_u64).unwrap();
    let twin = through(&value);
    twin.set(6).unwrap();
    assert_eq!(value.get(), Ok(6));
    drop(twin);
    // The message holds the name while no process has the object.
    let message = send(&value);
    drop(value);
    assert!(named::names().contains(&name));
    let arrived: Value<u64> = arrive(message).unwrap();
    assert_eq!(arrived.get(), Ok(6));
    // The name belongs to another object by now.
    let message = send(&arrived);
    named::unlink(&name).unwrap();
    let other = Value::create(&name, 1_u64).unwrap();
    assert!(arrive::<Value<u64>>(message).is_err());
    drop((arrived, other));
    assert!(!named::names().contains(&name));
}

#[test]
fn outside_of_a_message_nothing_travels() {
    let value = Value::new(1_u8).unwrap();
    let error = serde_json::to_string(&value).unwrap_err().to_string();
    assert!(error.contains("through a pipe or connection"), "{error}");
    let error = serde_json::from_str::<Value<u8>>(r#"[[0,0,0,0,0,0],""]"#).unwrap_err().to_string();
    assert!(error.contains("another kind") || error.contains("through a pipe"), "{error}");
}

#[test]
fn a_message_that_is_full_marks_nothing() {
    let value = Value::new(1_u8).unwrap();
    let (bytes, luggage) = travel::encode(0, || postcard::to_stdvec(&value));
    assert!(bytes.is_err());
    assert_eq!(luggage.refused, Some(TravelError::TooMany));
}

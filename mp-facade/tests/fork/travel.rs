//! Shared objects inside messages, between processes that did not inherit them.

use std::time::Duration;

use mp::{Array, Barrier, Condition, Event, Lock, RawArray, RecvError, Semaphore, Value, duplex, pipe};
use mp_sys::testing::{PATIENCE, hang, tests};

tests! {
    objects_reach_a_child_that_is_older_than_they_are,
    an_object_outlives_the_process_that_made_it,
    a_lock_in_a_message_passes_on_when_its_holder_dies,
    an_object_comes_back_as_itself,
    many_objects_in_and_out_keep_memory_bounded,
    the_memory_of_an_array_that_arrives_is_counted,
    values_that_arrive_and_are_kept_take_two_pages,
}

type Everything = (Value<u64>, Array<u32>, RawArray<f32>, Event, Semaphore, Lock, Condition, Barrier);

fn objects_reach_a_child_that_is_older_than_they_are() {
    let (tx, rx) = pipe::<Everything>().unwrap();
    let child = mp::fork(|| {
        let (value, array, raw, event, semaphore, lock, condition, barrier) =
            rx.recv_timeout(PATIENCE).unwrap();
        value.update(|n| n + 1).unwrap();
        array.set(1, 7).unwrap();
        raw.set(2, 0.5).unwrap();
        semaphore.add_permits(1).unwrap();
        let guard = condition.wait_while(lock.lock().unwrap(), |_| !event.is_set()).unwrap();
        drop(guard);
        barrier.wait().unwrap()
    })
    .unwrap();
    let everything: Everything = (
        Value::new(1).unwrap(),
        Array::zeroed(2).unwrap(),
        RawArray::zeroed(100_000).unwrap(),
        Event::new().unwrap(),
        Semaphore::new(0).unwrap(),
        Lock::new().unwrap(),
        Condition::new().unwrap(),
        Barrier::new(2).unwrap(),
    );
    tx.send(&everything).unwrap();
    let (value, array, raw, event, semaphore, lock, condition, barrier) = everything;
    // The child has come as far as its last operation before it waits.
    drop(semaphore.acquire_timeout(PATIENCE).unwrap());
    assert_eq!(value.get(), Ok(2));
    assert_eq!(array.to_vec().unwrap(), [0, 7]);
    assert_eq!(raw.get(2), Ok(0.5));
    event.set();
    drop(lock.lock().unwrap());
    condition.notify_all();
    let mine = barrier.wait_timeout(PATIENCE).unwrap();
    assert_eq!(child.join().unwrap() + mine, 1);
}

fn an_object_outlives_the_process_that_made_it() {
    let (tx, rx) = pipe::<Value<u64>>().unwrap();
    let maker = mp::fork(|| tx.send(&Value::new(42).unwrap()).unwrap()).unwrap();
    maker.join().unwrap();
    let value = rx.recv_timeout(PATIENCE).unwrap();
    assert_eq!(value.replace(43), Ok(42));
    drop(tx);
    assert_eq!(rx.recv_timeout(PATIENCE).unwrap_err(), RecvError::Closed);
}

fn a_lock_in_a_message_passes_on_when_its_holder_dies() {
    let (tx, rx) = pipe::<Value<u64>>().unwrap();
    let (holds, is_held) = pipe::<()>().unwrap();
    let holder = mp::fork(|| -> () {
        let value = rx.recv_timeout(PATIENCE).unwrap();
        let mut guard = value.lock().unwrap();
        *guard = 5;
        holds.send(&()).unwrap();
        hang();
    })
    .unwrap();
    let value = Value::new(1).unwrap();
    tx.send(&value).unwrap();
    is_held.recv_timeout(PATIENCE).unwrap();
    assert!(value.try_lock().is_err());
    holder.kill().unwrap();
    let Err(mp::LockError::Poisoned(guard)) = value.lock_timeout(PATIENCE) else { panic!("not poisoned") };
    assert_eq!(*guard, 5);
    drop(guard);
    assert!(holder.join().is_err());
}

fn an_object_comes_back_as_itself() {
    let (here, there) = duplex::<Value<u64>, Value<u64>>().unwrap();
    let child = mp::fork(|| -> () {
        let value = there.recv_timeout(PATIENCE).unwrap();
        value.set(2).unwrap();
        there.send(&value).unwrap();
        // A child can send what it made itself, and what it inherited.
        there.send(&Value::new(3).unwrap()).unwrap();
        hang();
    })
    .unwrap();
    let value = Value::new(1).unwrap();
    here.send(&value).unwrap();
    let twin = here.recv_timeout(PATIENCE).unwrap();
    let guard = twin.lock().unwrap();
    assert_eq!(*guard, 2);
    // One lock at one address: the second handle knows that this thread holds it.
    assert!(matches!(value.lock_timeout(Duration::from_millis(1)), Err(mp::LockError::Deadlock)));
    drop(guard);
    assert_eq!(here.recv_timeout(PATIENCE).unwrap().get(), Ok(3));
    child.kill().unwrap();
    assert!(child.join().is_err());
}

fn many_objects_in_and_out_keep_memory_bounded() {
    let (tx, rx) = pipe::<Value<u64>>().unwrap();
    let alive = Value::new(0_u64).unwrap();
    for n in 0..100_000 {
        tx.send(&Value::new(n).unwrap()).unwrap();
        assert_eq!(rx.recv().unwrap().get(), Ok(n));
    }
    // Places that were sent are not used again. The chunks were unmapped instead.
    assert!(mp::memory_mapped() <= 3 << 20, "{} bytes mapped", mp::memory_mapped());
    assert_eq!(alive.get(), Ok(0));
}

fn the_memory_of_an_array_that_arrives_is_counted() {
    const MIB: u64 = 1 << 20;
    let (tx, rx) = pipe::<RawArray<u8>>().unwrap();
    let maker = mp::fork(|| {
        for _ in 0..3 {
            // With one page before it, exactly 1 MiB.
            tx.send(&RawArray::zeroed((1 << 20) - 4096).unwrap()).unwrap();
        }
    })
    .unwrap();
    maker.join().unwrap();
    let before = mp::memory_mapped();
    mp::set_memory_limit(Some(before + MIB - 1));
    let refused = rx.recv_timeout(PATIENCE).unwrap_err();
    let RecvError::Decode { reason, .. } = &refused else { panic!("{refused:?}") };
    assert!(reason.to_string().contains("no space for 1048576 bytes"), "{reason}");
    assert_eq!(mp::memory_mapped(), before);
    mp::set_memory_limit(Some(before + MIB));
    let array = rx.recv_timeout(PATIENCE).unwrap();
    assert_eq!(mp::memory_mapped(), before + MIB);
    let refused = rx.recv_timeout(PATIENCE).unwrap_err();
    assert!(matches!(refused, RecvError::Decode { .. }), "{refused:?}");
    assert_eq!(array.get(0), Ok(0), "usable afterwards");
    drop(array);
    assert_eq!(mp::memory_mapped(), before);
}

/// Each of them is in a chunk of the process that created it.
fn values_that_arrive_and_are_kept_take_two_pages() {
    const MAKERS: u64 = 100;
    let (tx, rx) = pipe::<Value<u64>>().unwrap();
    let before = mp::memory_mapped();
    let values: Vec<Value<u64>> = (0..MAKERS)
        .map(|n| {
            let maker = mp::fork(|| tx.send(&Value::new(n).unwrap()).unwrap()).unwrap();
            maker.join().unwrap();
            rx.recv_timeout(PATIENCE).unwrap()
        })
        .collect();
    let taken = mp::memory_mapped() - before;
    assert!(taken <= MAKERS * 2 * 4096, "{taken} bytes for {MAKERS} values");
    assert!((0..).zip(&values).all(|(n, value)| value.get() == Ok(n)));
    drop(values);
    assert_eq!(mp::memory_mapped(), before);
}

//! Each method does what its blocking form does.

use std::future::poll_fn;
use std::pin::{Pin, pin};

use futures_core::Stream;
use manager_rt::{GetError, ItemError, LockError, Manager, PutError, SemaphoreError};

use super::in_each;

#[test]
fn containers() {
    in_each(|manager, other| async move {
        list(&manager).await;
        dict(&manager).await;
        array(&manager).await;
        let value = manager.named("value").value(&20_u64).unwrap();
        assert_eq!(value.fetch_add_async(1).await, Ok(20));
        assert_eq!(value.update_async(|n| n * 2).await, Ok(21));
        assert_eq!(value.compare_exchange_async(&1, &2).await, Ok(Err(42)));
        assert_eq!(value.compare_exchange_async(&42, &2).await, Ok(Ok(())));
        assert_eq!(value.replace_async(&5).await, Ok(2));
        value.set_async(&6).await.unwrap();
        assert_eq!(value.get_async().await, Ok(6));
        assert_eq!(other.named("value").value(&0_u64).unwrap().get(), Ok(6), "seen by another client");
        let names = manager.namespace().unwrap();
        names.set_async("a", &3_u32).await.unwrap();
        names.set_async("_b", "here").await.unwrap();
        assert_eq!(names.get_async::<u32>("a").await, Ok(3));
        assert_eq!(names.get_async::<String>("_b").await, Ok("here".to_owned()));
        assert_eq!(names.names_async().await, Ok(vec!["a".to_owned()]));
        names.delete_async("a").await.unwrap();
        names.delete_async("_b").await.unwrap();
        assert_eq!(names.delete_async("a").await, Err(ItemError::NotFound));
    });
}

async fn list(manager: &Manager) {
    let list = manager.list::<String>().unwrap();
    list.push_async("b").await.unwrap();
    list.extend_async(["c", "d"]).await.unwrap();
    list.insert_async(0, "a").await.unwrap();
    assert_eq!(list.to_vec_async().await.unwrap(), ["a", "b", "c", "d"]);
    assert_eq!(list.range_async(1..3).await.unwrap(), ["b", "c"]);
    assert_eq!(list.get_async(1).await.unwrap(), "b");
    assert_eq!(list.get_async(9).await, Err(ItemError::Index { index: 9, len: 4 }));
    list.set_async(1, "B").await.unwrap();
    assert_eq!(list.replace_async(1, "x").await.unwrap(), "B");
    assert_eq!(list.compare_exchange_async(1, "y", "z").await, Ok(Err("x".to_owned())));
    assert_eq!(list.update_async(1, |item| item + "!").await.unwrap(), "x");
    list.swap_async(0, 1).await.unwrap();
    list.reverse_async().await.unwrap();
    assert_eq!(list.remove_async(3).await.unwrap(), "x!");
    list.delete_async(0).await.unwrap();
    assert_eq!(list.pop_async().await, Ok(Some("a".to_owned())));
    list.clear_async().await.unwrap();
    assert_eq!((list.pop_async().await, list.len_async().await), (Ok(None), Ok(0)));
    // A long list is read in pages.
    let long: Vec<String> = (0..10_000).map(|n: u32| n.to_string()).collect();
    list.extend_async(&long).await.unwrap();
    assert_eq!(list.to_vec_async().await.unwrap(), long);
}

async fn dict(manager: &Manager) {
    let dict = manager.dict::<String, u32>().unwrap();
    dict.insert_async("a", &1).await.unwrap();
    dict.extend_async([("b", &2), ("c", &3)]).await.unwrap();
    assert_eq!((dict.get_async("b").await, dict.get_async("x").await), (Ok(Some(2)), Ok(None)));
    assert_eq!(dict.contains_key_async("c").await, Ok(true));
    assert_eq!(dict.replace_async("a", &4).await, Ok(Some(1)));
    assert_eq!(dict.insert_new_async("a", &5).await, Ok(Err(4)));
    assert_eq!(dict.get_or_insert_async("d", &6).await, Ok(6));
    assert_eq!(dict.fetch_add_async("d", 1).await, Ok(6));
    assert_eq!(dict.compare_exchange_async("d", Some(&7), None).await, Ok(Ok(())));
    assert_eq!(dict.update_async("e", |n| Some(n.unwrap_or(0) + 9)).await, Ok(None));
    assert_eq!(dict.update_async("e", |n| n.map(|n| n + 1)).await, Ok(Some(9)));
    assert_eq!(dict.keys_async().await.unwrap(), ["a", "b", "c", "e"]);
    assert_eq!(dict.values_async().await.unwrap(), [4, 2, 3, 10]);
    assert_eq!(dict.pop_item_async().await, Ok(Some(("e".to_owned(), 10))));
    assert_eq!((dict.delete_async("a").await, dict.remove_async("b").await), (Ok(true), Ok(Some(2))));
    assert_eq!(dict.items_async().await, Ok(vec![("c".to_owned(), 3)]));
    dict.clear_async().await.unwrap();
    assert_eq!(dict.len_async().await, Ok(0));
}

async fn array(manager: &Manager) {
    let array = manager.array(&[1_i64, 2, 3]).unwrap();
    array.set_async(0, &-1).await.unwrap();
    array.write_async(1, &[5, 6]).await.unwrap();
    assert_eq!(array.fetch_add_async(2, 4).await, Ok(6));
    assert_eq!(array.replace_async(1, &7).await, Ok(5));
    assert_eq!(array.compare_exchange_async(1, &0, &1).await, Ok(Err(7)));
    assert_eq!(array.update_async(1, |n| n + 1).await, Ok(7));
    assert_eq!((array.get_async(1).await, array.len_async().await), (Ok(8), Ok(3)));
    assert_eq!(array.to_vec_async().await, Ok(vec![-1, 8, 10]));
    assert_eq!(array.read_async(1..3).await, Ok(vec![8, 10]));
    assert_eq!(array.read_async(1..4).await, Err(ItemError::Index { index: 4, len: 3 }));
}

#[test]
fn queues() {
    in_each(|manager, _| async move {
        let queue = manager.named("queue").bounded_queue::<u32>(3).unwrap();
        queue.put_async(&1).await.unwrap();
        queue.put_many_async(&[2, 3]).await.unwrap();
        assert_eq!(queue.try_put_async(&4).await, Err(PutError::Full));
        assert_eq!((queue.len_async().await, queue.get_async().await), (Ok(3), Ok(1)));
        assert_eq!(queue.get_many_async(9).await, Ok(vec![2, 3]));
        assert_eq!(queue.get_many_async(0).await, Ok(vec![]));
        assert_eq!(queue.try_get_async().await, Err(GetError::Empty));
        queue.close_async().await.unwrap();
        assert_eq!(queue.get_async().await, Err(GetError::Closed));
        assert_eq!(
            (queue.put_async(&1).await, queue.is_closed_async().await),
            (Err(PutError::Closed), Ok(true))
        );

        let tasks = manager.joinable_queue::<String>().unwrap();
        tasks.put_async("one").await.unwrap();
        tasks.put_many_async(["two"]).await.unwrap();
        tasks.try_put_async("three").await.unwrap();
        let task = tasks.get_async().await.unwrap();
        assert_eq!((task.as_str(), task.deliveries()), ("one", 1));
        drop(task);
        let task = tasks.try_get_async().await.unwrap();
        assert_eq!((task.as_str(), task.deliveries()), ("one", 2));
        task.requeue_async().await.unwrap();
        for expected in ["one", "two", "three"] {
            assert_eq!(tasks.get_async().await.unwrap().done_async().await.unwrap(), expected);
        }
        assert_eq!((tasks.unfinished_async().await, tasks.len_async().await), (Ok(0), Ok(0)));
        tasks.join_async().await.unwrap();
        // A task that was taken here may be finished by a blocking call, since both use one connection.
        tasks.put("four").unwrap();
        assert_eq!(tasks.get_async().await.unwrap().done().unwrap(), "four");
        tasks.close_async().await.unwrap();
        assert_eq!(tasks.is_closed_async().await, Ok(true));
    });
}

async fn next<S: Stream>(stream: &mut Pin<&mut S>) -> Option<S::Item> {
    poll_fn(|context| stream.as_mut().poll_next(context)).await
}

#[test]
fn streams_and_iterators_end_with_their_queue() {
    in_each(|manager, _| async move {
        let queue = manager.queue::<u32>().unwrap();
        queue.put_many(&[1, 2, 3]).unwrap();
        // What a dropped stream has not returned stays in the queue.
        assert_eq!(next(&mut pin!(queue.stream())).await, Some(Ok(1)));
        let mut items = pin!(queue.stream());
        assert_eq!(next(&mut items).await, Some(Ok(2)));
        queue.close().unwrap();
        assert_eq!(next(&mut items).await, Some(Ok(3)));
        assert_eq!((next(&mut items).await, next(&mut items).await), (None, None));
        assert_eq!(queue.iter().count(), 0);

        let tasks = manager.joinable_queue::<u32>().unwrap();
        (0..4).for_each(|number| tasks.put(&number).unwrap());
        tasks.close().unwrap();
        // A task that is dropped comes back before the others.
        drop(next(&mut pin!(tasks.stream())).await);
        let mut leased = pin!(tasks.stream());
        for number in 0..2 {
            let task = next(&mut leased).await.unwrap().unwrap();
            assert_eq!(task.done_async().await, Ok(number));
        }
        let rest: Vec<u32> = tasks.iter().map(|task| task.unwrap().done().unwrap()).collect();
        assert_eq!(rest, [2, 3]);
        assert!(next(&mut leased).await.is_none());
        assert_eq!(tasks.unfinished(), Ok(0));
    });
}

#[test]
fn locks_and_permits() {
    in_each(|manager, other| async move {
        let lock = manager.named("lock").lock().unwrap();
        let held = lock.lock_async().await.unwrap();
        assert!(held.is_valid());
        assert!(matches!(lock.try_lock_async().await, Err(LockError::WouldBlock)), "a task is no owner");
        assert!(matches!(held.again_async().await, Err(LockError::Deadlock)));
        assert_eq!(lock.is_locked_async().await, Ok(true));
        let first = held.token();
        drop(held);
        // The release comes before every later call of this process.
        let held = lock.try_lock().unwrap();
        assert!(held.token() > first);
        drop(held);
        let leased = lock.lock_leased_async(std::time::Duration::from_millis(1)).await.unwrap();
        let theirs = other.named("lock").lock().unwrap();
        assert!(matches!(theirs.lock_async().await, Err(LockError::OwnerDied(_))));
        assert!(!leased.is_valid());

        let rlock = manager.rlock().unwrap();
        let outer = rlock.lock_async().await.unwrap();
        let inner = outer.again_async().await.unwrap();
        assert_eq!(outer.token(), inner.token());
        drop(outer);
        assert_eq!((rlock.is_locked_async().await, inner.is_valid()), (Ok(true), true));
        drop(inner);
        assert_eq!(rlock.is_locked_async().await, Ok(false));

        let seats = manager.bounded_semaphore(2).unwrap();
        let one = seats.acquire_async().await.unwrap();
        let two = seats.try_acquire_async().await.unwrap();
        assert_eq!(seats.try_acquire_async().await.unwrap_err(), SemaphoreError::WouldBlock);
        drop(one);
        assert_eq!(seats.available_async().await, Ok(1));
        two.forget().unwrap();
        seats.add_permits_async(1).await.unwrap();
        assert_eq!(seats.add_permits_async(1).await, Err(SemaphoreError::OverRelease));
    });
}

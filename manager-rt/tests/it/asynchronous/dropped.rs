//! Futures that are dropped before they are ready: nothing is lost, and nothing is done twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use manager_rt::{BarrierError, GetError, LockError, Manager, SemaphoreError};

use super::{in_each, poll_once, polled, soon, thread, until};

/// When a future is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// It was never polled.
    Unpolled,
    /// The server has the call, which waits.
    Waiting,
    /// The server has the call, and answers while the client cancels it.
    Answering,
    /// The answer is in the client, and the task has not looked.
    Arrived,
}

const ALL: [When; 4] = [When::Unpolled, When::Waiting, When::Answering, When::Arrived];

/// Begins a call, lets it through, and drops it at the given moment. `let_through` runs in another client. Afterwards, it has
/// run, and the server has heard of everything.
async fn drop_when<F: Future>(when: When, manager: &Manager, call: F, let_through: impl FnOnce()) {
    let mut call = Box::pin(call);
    if when != When::Unpolled {
        if poll_once(call.as_mut()).await.is_ready() {
            return;
        }
        // A call of this client: the server has read the one before.
        manager.info().unwrap();
    }
    match when {
        When::Unpolled | When::Waiting => {
            drop(call);
            let_through();
        }
        When::Answering => {
            let_through();
            drop(call);
        }
        When::Arrived => {
            let_through();
            // The answer to the call comes before the one to this, and this thread reads both.
            manager.info().unwrap();
            drop(call);
        }
    }
    manager.info().unwrap();
}

#[test]
fn a_dropped_get_takes_no_item() {
    in_each(|manager, other| async move {
        let queue = manager.named("queue").queue::<u32>().unwrap();
        let theirs = other.named("queue").queue::<u32>().unwrap();
        for (item, when) in (0..).zip(ALL) {
            drop_when(when, &manager, queue.get_async(), || theirs.put(&item).unwrap()).await;
            assert_eq!(theirs.try_get(), Ok(item), "{when:?}");
            drop_when(when, &manager, queue.get_many_async(9), || theirs.put_many(&[item, 7]).unwrap()).await;
            assert_eq!(theirs.get_many(9), Ok(vec![item, 7]), "{when:?}");
            assert_eq!(queue.try_get_async().await, Err(GetError::Empty));
        }
    });
}

#[test]
fn a_dropped_get_is_no_delivery_of_a_task() {
    in_each(|manager, other| async move {
        let queue = manager.named("tasks").joinable_queue::<u32>().unwrap();
        let theirs = other.named("tasks").joinable_queue::<u32>().unwrap();
        for (item, when) in (0..).zip(ALL) {
            drop_when(when, &manager, queue.get_async(), || theirs.put(&item).unwrap()).await;
            let task = theirs.try_get().unwrap();
            assert_eq!((*task, task.deliveries()), (item, 1), "{when:?}");
            task.done().unwrap();
        }
        assert_eq!(queue.unfinished_async().await, Ok(0));
    });
}

#[test]
fn a_dropped_put_leaves_the_whole_item_or_none() {
    in_each(|manager, other| async move {
        let queue = manager.named("queue").bounded_queue::<u32>(1).unwrap();
        let theirs = other.named("queue").bounded_queue::<u32>(1).unwrap();
        for when in ALL {
            theirs.put(&1).unwrap();
            let put = queue.put_async(&2);
            drop_when(when, &manager, put, || assert_eq!(theirs.get(), Ok(1))).await;
            let left = theirs.try_get();
            match when {
                When::Unpolled | When::Waiting => assert_eq!(left, Err(GetError::Empty), "{when:?}"),
                When::Answering | When::Arrived => assert_eq!(left, Ok(2), "{when:?}"),
            }
        }
    });
}

#[test]
fn a_dropped_call_holds_no_lock_and_no_permit() {
    in_each(|manager, other| async move {
        let lock = manager.named("lock").lock().unwrap();
        let theirs = other.named("lock").lock().unwrap();
        let seats = manager.named("seats").semaphore(1).unwrap();
        let their_seats = other.named("seats").semaphore(1).unwrap();
        for when in ALL {
            let held = theirs.lock().unwrap();
            drop_when(when, &manager, lock.lock_async(), || drop(held)).await;
            drop(theirs.try_lock().map_err(LockError::discard).expect("the lock is free"));
            let taken = their_seats.acquire().unwrap();
            drop_when(when, &manager, seats.acquire_async(), || drop(taken)).await;
            drop(their_seats.try_acquire().expect("the permit is free"));
        }
        let permit = seats.acquire_async().await.unwrap();
        assert_eq!(seats.try_acquire_async().await.unwrap_err(), SemaphoreError::WouldBlock);
        drop(permit);
        assert_eq!(seats.available_async().await, Ok(1));
    });
}

/// The next holder learns that the last one died, although a dropped call had been granted the lock in between.
#[test]
fn a_dropped_call_hides_no_death() {
    in_each(|manager, other| async move {
        let lock = manager.named("lock").lock().unwrap();
        let theirs = other.named("lock").lock().unwrap();
        for when in [When::Answering, When::Arrived] {
            let leased = theirs.lock_leased(Duration::from_millis(20)).map_err(LockError::discard).unwrap();
            drop_when(when, &manager, lock.lock_async(), || {
                // The server counts from an earlier moment.
                while leased.is_valid() {}
            })
            .await;
            let next = lock.lock_async().await;
            assert!(matches!(next, Err(LockError::OwnerDied(_))), "{when:?}");
        }
    });
}

#[test]
fn a_dropped_wait_passes_its_notification_on() {
    in_each(|manager, other| async move {
        let (lock, ready) =
            (manager.named("lock").lock().unwrap(), manager.named("ready").condition().unwrap());
        let their_lock = other.named("lock").lock().unwrap();
        let theirs = other.named("ready").condition().unwrap();
        for when in [When::Waiting, When::Answering, When::Arrived] {
            let held = lock.lock_async().await.unwrap();
            let mut first = Box::pin(ready.wait_async(held));
            assert!(poll_once(first.as_mut()).await.is_pending());
            manager.info().unwrap();
            let (its_lock, second) = (their_lock.clone(), theirs.clone());
            let second = thread(move || {
                let held = its_lock.lock().unwrap();
                second.wait(held).map_err(LockError::discard).map(drop).unwrap();
            });
            while theirs.n_waiting() != Ok(2) {}
            if when != When::Waiting {
                assert_eq!(theirs.notify(1), Ok(1));
            }
            if when == When::Arrived {
                manager.info().unwrap();
            }
            drop(first);
            manager.info().unwrap();
            if when == When::Waiting {
                assert_eq!(theirs.notify(1), Ok(1));
            }
            second.join().unwrap();
            assert_eq!((ready.n_waiting(), lock.is_locked()), (Ok(0), Ok(false)), "{when:?}");
        }
    });
}

#[test]
fn a_dropped_party_breaks_the_barrier() {
    in_each(|manager, _| async move {
        let barrier = manager.barrier(2).unwrap();
        drop(barrier.wait_async());
        assert_eq!(barrier.is_broken(), Ok(false), "it was never polled");
        assert!(polled(barrier.wait_async(), 2).await.is_none());
        until(|| barrier.is_broken() == Ok(true)).await;
        barrier.reset_async().await.unwrap();
        // The last party is dropped when it should run the action, unless that came too fast.
        let has_run = Arc::new(AtomicBool::new(true));
        while has_run.swap(false, Ordering::Relaxed) {
            let ran = Arc::clone(&has_run);
            let acting = barrier.clone().with_action(move || ran.store(true, Ordering::Relaxed));
            let waiting = barrier.clone();
            let waiter = tokio::spawn(async move { waiting.wait_async().await });
            until(|| barrier.n_waiting() == Ok(1)).await;
            drop_when(When::Arrived, &manager, acting.wait_async(), || {}).await;
            let outcome = soon(waiter).await.unwrap().map(drop);
            let expected = if has_run.load(Ordering::Relaxed) { Ok(()) } else { Err(BarrierError::Broken) };
            assert_eq!(outcome, expected);
        }
    });
}

/// A future that nobody polls holds back no more than a limited number of later answers.
#[test]
fn a_forgotten_future_keeps_nothing() {
    in_each(|manager, other| async move {
        let queue = manager.named("queue").queue::<u32>().unwrap();
        let theirs = other.named("queue").queue::<u32>().unwrap();
        let mut forgotten = Box::pin(queue.get_async());
        assert!(poll_once(forgotten.as_mut()).await.is_pending());
        manager.info().unwrap();
        theirs.put(&1).unwrap();
        // More answers than may arrive after one that is not taken.
        for _ in 0..1_100 {
            manager.info().unwrap();
        }
        assert_eq!(theirs.try_get(), Ok(1), "it was given back");
        theirs.put(&2).unwrap();
        assert_eq!(soon(forgotten).await, Ok(2), "the call was sent again");
    });
}

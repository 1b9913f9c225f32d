//! Items that a killed process has not read, although later answers were written to it.

use std::io::{PipeReader, Read, Write};

use manager_rt::{Manager, Queue};
use mp_sys::testing::{PATIENCE, Random, kill, spawn, tests};

use crate::fixture::{until, until_waiting, with_manager};
use crate::frozen::freeze;

tests! {
    items_that_nobody_has_read_come_back_whatever_was_written_after_them,
    no_item_of_a_killed_process_with_many_threads_is_lost_or_delivered_twice,
}

/// Its threads wait for two items and for an event. It is frozen, and killed when all three answers were written.
fn items_that_nobody_has_read_come_back_whatever_was_written_after_them() {
    with_manager(|manager| {
        let (queue, event) = (manager.queue::<u64>().unwrap(), manager.event().unwrap());
        let victim = spawn(|| {
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| drop(queue.get()));
                }
                scope.spawn(|| drop(event.wait()));
            });
        });
        until_waiting(manager, 3);
        freeze(&victim);
        queue.put(&1).unwrap();
        queue.put(&2).unwrap();
        event.set().unwrap();
        until_waiting(manager, 0);
        kill(&victim);
        assert_eq!([(); 2].map(|()| queue.get_timeout(PATIENCE)), [Ok(1), Ok(2)]);
    });
}

const ROUNDS: usize = 40;
const THREADS: u64 = 4;
const ITEMS: u64 = 2_000;

/// The threads write down what they got. One that is killed may have got one more item than it had time to write down.
fn no_item_of_a_killed_process_with_many_threads_is_lost_or_delivered_twice() {
    with_manager(|manager| {
        let queue = manager.queue::<u64>().unwrap();
        let mut random = Random::new();
        for _ in 0..ROUNDS {
            round(manager, &queue, &mut random);
        }
    });
}

fn round(manager: &Manager, queue: &Queue<u64>, random: &mut Random) {
    let seed = random.seed();
    queue.put_many(&(0..ITEMS).collect::<Vec<_>>()).unwrap();
    let (seen, mut notes) = std::io::pipe().unwrap();
    let victim = spawn(|| {
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                let mut notes = notes.try_clone().unwrap();
                scope.spawn(move || {
                    while let Ok(item) = queue.get() {
                        notes.write_all(&item.to_le_bytes()).unwrap();
                    }
                });
            }
        });
    });
    notes.flush().unwrap();
    drop(notes);
    until(manager, "it has begun", |info| info.clients == 2);
    random.pause(5_000_000);
    kill(&victim);
    until(manager, "its connection is closed", |info| info.clients == 1);
    let seen = numbers(seen);
    let rest = queue.try_get_many(usize::MAX).unwrap_or_default();
    let mut all: Vec<_> = seen.iter().chain(&rest).copied().collect();
    all.sort_unstable();
    let count = all.len();
    all.dedup();
    assert_eq!(all.len(), count, "MP_SEED={seed}: an item was delivered twice: {seen:?} and {rest:?}");
    let lost = ITEMS - u64::try_from(count).unwrap();
    assert!(lost <= THREADS, "MP_SEED={seed}: {lost} items are lost: {seen:?} and {rest:?}");
}

fn numbers(mut from: PipeReader) -> Vec<u64> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap())).collect()
}

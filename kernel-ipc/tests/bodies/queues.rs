//! Queues: each item goes to one consumer, in the order of its producer, with everything that was written before.

use kernel_ipc::{Queue, SimpleQueue};
use mp_sys::testing::plain::Plain;
use mp_sys::testing::spawner::Spawner;
use mp_sys::testing::{PATIENCE, bodies};

bodies! {
    producers_and_consumers_of_a_queue,
    producers_and_consumers_of_a_bounded_queue,
    batches_in_a_queue_bounded_by_bytes,
    items_of_all_lengths_are_whole,
    a_put_shows_what_was_written_before,
    a_full_queue_shows_what_was_written_before_the_get,
    a_simple_queue_passes_a_word_to_and_fro,
}

const PRODUCERS: usize = 4;
const CONSUMERS: usize = 4;
const EACH: u64 = 2_000;

/// An item: its producer, and its number there.
type Made = (usize, u64);

/// The number of items that a consumer got from each producer.
type Counts = [u64; PRODUCERS];

/// Takes items until the queue is closed, and counts them by their producers.
fn consume(queue: &Queue<Made>) -> Counts {
    let (mut newest, mut counts) = ([None; PRODUCERS], [0; PRODUCERS]);
    for item in queue {
        let (producer, number) = item.unwrap();
        assert!(newest[producer] < Some(number), "items of one producer arrived in another order");
        newest[producer] = Some(number);
        counts[producer] += 1;
    }
    counts
}

/// All producers put `each` items. One more worker closes the queue after them.
fn producers_and_consumers<S: Spawner>(queue: &Queue<Made>, each: u64) {
    let (ended, results) = (Queue::<()>::new().unwrap(), Queue::<Counts>::new().unwrap());
    S::all(PRODUCERS + CONSUMERS + 1, |worker| {
        if worker < PRODUCERS {
            for number in 0..each {
                queue.put_timeout(&(worker, number), PATIENCE).unwrap();
                assert!(queue.capacity().is_none_or(|capacity| queue.len() <= capacity));
            }
            ended.put(&()).unwrap();
        } else if worker < PRODUCERS + CONSUMERS {
            results.put(&consume(queue)).unwrap();
        } else {
            (0..PRODUCERS).for_each(|_| ended.get_timeout(PATIENCE).unwrap());
            queue.close().unwrap();
        }
    });
    let mut sums = [0; PRODUCERS];
    for counts in results.get_many(CONSUMERS).unwrap() {
        sums.iter_mut().zip(counts.unwrap()).for_each(|(sum, count)| *sum += count);
    }
    assert_eq!(sums, [each; PRODUCERS]);
}

fn producers_and_consumers_of_a_queue<S: Spawner>() {
    producers_and_consumers::<S>(&Queue::new().unwrap(), EACH);
}

fn producers_and_consumers_of_a_bounded_queue<S: Spawner>() {
    producers_and_consumers::<S>(&Queue::bounded(3).unwrap(), EACH / 4);
}

fn batches_in_a_queue_bounded_by_bytes<S: Spawner>() {
    let queue = Queue::bounded_bytes(4096).unwrap();
    let (ended, sums) = (Queue::<()>::new().unwrap(), Queue::<u64>::new().unwrap());
    S::all(5, |worker| match worker {
        0 | 1 => {
            let items: Vec<u64> = (1..=EACH).collect();
            items.chunks(33).for_each(|batch| queue.put_many(batch).unwrap());
            ended.put(&()).unwrap();
        }
        2 => {
            (0..2).for_each(|_| ended.get_timeout(PATIENCE).unwrap());
            queue.close().unwrap();
        }
        _ => {
            let mut sum = 0;
            while let Ok(batch) = queue.get_many_timeout(20, PATIENCE) {
                sum += batch.map(Result::unwrap).sum::<u64>();
            }
            sums.put(&sum).unwrap();
        }
    });
    let sum: u64 = sums.get_many(2).unwrap().map(Result::unwrap).sum();
    assert_eq!(sum, EACH * (EACH + 1));
}

fn items_of_all_lengths_are_whole<S: Spawner>() {
    const LENGTHS: [usize; 8] = [0, 1, 63, 64, 255, 300, 5_000, 70_000];
    const ROUNDS: u8 = 40;
    let queue = Queue::<Vec<u8>>::bounded(4).unwrap();
    S::all(4, |worker| {
        let lengths = (0..ROUNDS).flat_map(|round| LENGTHS.map(|length| (round, length)));
        for (round, length) in lengths {
            if worker < 2 {
                queue.put_timeout(&vec![round; length], PATIENCE).unwrap();
            } else {
                let item = queue.get_timeout(PATIENCE).unwrap();
                assert!(LENGTHS.contains(&item.len()));
                assert!(item.iter().all(|&byte| byte == item[0]), "{} bytes", item.len());
            }
        }
    });
    assert!(queue.is_empty());
}

/// Words that belong to the items. Each is written before its item is put, and changed by the consumer that got it.
fn a_put_shows_what_was_written_before<S: Spawner>() {
    const WORDS: usize = 200;
    let queue = Queue::<usize>::new().unwrap();
    let words: Vec<Plain> = (0..WORDS).map(|_| Plain::new()).collect();
    S::all(4, |worker| {
        for number in (worker % 2..WORDS).step_by(2) {
            if worker < 2 {
                words[number].set(u64::try_from(number).unwrap());
                queue.put(&number).unwrap();
            } else {
                let number = queue.get_timeout(PATIENCE).unwrap();
                assert_eq!(words[number].get(), u64::try_from(number).unwrap());
                words[number].add(1);
            }
        }
    });
    assert!(words.iter().zip(1..).all(|(word, expected)| word.get() == expected));
}

/// A place is free when its item was got. The producer of the next item sees what was written before that `get`.
fn a_full_queue_shows_what_was_written_before_the_get<S: Spawner>() {
    const WORDS: usize = 200;
    let queue = Queue::<usize>::bounded(1).unwrap();
    let words: Vec<Plain> = (0..WORDS).map(|_| Plain::new()).collect();
    S::all(2, |worker| {
        for number in 0..WORDS {
            if worker == 0 {
                queue.put_timeout(&number, PATIENCE).unwrap();
                // There was room, so the previous item was got.
                if let Some(before) = number.checked_sub(1) {
                    assert_eq!(words[before].get(), 1);
                }
            } else {
                words[number].set(1);
                assert_eq!(queue.get_timeout(PATIENCE), Ok(number));
            }
        }
    });
}

fn a_simple_queue_passes_a_word_to_and_fro<S: Spawner>() {
    let queues = [SimpleQueue::<u64>::new().unwrap(), SimpleQueue::new().unwrap()];
    let word = Plain::new();
    queues[0].put(&0).unwrap();
    S::all(2, |worker| {
        for _ in 0..EACH {
            let turn = queues[worker].get().unwrap();
            assert_eq!(word.get(), turn);
            word.add(1);
            queues[1 - worker].put(&(turn + 1)).unwrap();
        }
    });
    assert_eq!(word.get(), 2 * EACH);
    assert_eq!(queues[0].get(), Ok(2 * EACH));
}

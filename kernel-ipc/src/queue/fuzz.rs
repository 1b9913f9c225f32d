//! What a peer may write into a queue's memory, for fuzzers: every operation ends, with an error at worst.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;

use mp_sys::locked::Held;
use mp_sys::region::{DATA_START, LOCK_DATA_BYTES};
use mp_sys::robust::Patience;

use crate::queue::core::Core;
use crate::queue::layout::{CONFIG, RING_START};
use crate::queue::{JoinableQueue, Queue};

/// Words that may be written in the header, and at the start of a segment.
const NEAR_WORDS: u64 = 48;

/// Writes the input into a queue and a queue of tasks, nine bytes a word, and uses them in between.
///
/// # Panics
/// If an operation gives what it must not: that is a finding, as is an operation that does not end.
pub(crate) fn ring(input: &[u8]) {
    let Ok(queue) = Queue::<()>::bounded_bytes(1 << 20) else { return };
    let Ok(tasks) = JoinableQueue::<Vec<u8>>::bounded(8) else { return };
    let mut held_tasks = Vec::new();
    for (round, write) in input.chunks_exact(9).enumerate() {
        let (place, value) = write.split_at(1);
        let value = value.try_into().map_or(0, u64::from_le_bytes);
        use_queue(&queue, round);
        scribble(&queue.core, place.first().copied().unwrap_or(0), value);
        use_queue(&queue, round);
        held_tasks.extend(use_tasks(&tasks, round));
        scribble(&tasks.queue.core, place.first().copied().unwrap_or(0), value);
        held_tasks.extend(use_tasks(&tasks, round));
        if round % 3 == 2 {
            held_tasks.pop().map(crate::queue::Task::done);
            held_tasks.clear();
        }
    }
}

fn use_queue(queue: &Queue<()>, round: usize) {
    let len = if round.is_multiple_of(7) { 70_000 } else { round % 100 };
    let _put = queue.try_put_bytes(&vec![7; len]);
    let _put = queue.core.put_some(&[&[1; 9], &[2; 9]], Patience::None);
    let mut small = [0; 64];
    let _got = queue.core.get(Patience::None, |ring, record| {
        let fits = small.get_mut(..record.len).is_none_or(|into| ring.region.read(record.item(), into));
        assert!(fits, "a record lies in the region");
        Ok(())
    });
    if let Ok(mut batch) = queue.try_get_many(3) {
        while batch.next_bytes().is_some() {}
    }
    let _counts = (queue.len(), queue.is_full(), queue.is_closed());
}

fn use_tasks(tasks: &JoinableQueue<Vec<u8>>, round: usize) -> Option<crate::queue::Task<Vec<u8>>> {
    let _put = tasks.try_put(&vec![3; round % 200]);
    tasks.set_max_deliveries(NonZeroU32::MIN);
    let task = tasks.try_get().ok();
    let _counts = (tasks.unfinished(), tasks.failed().map(|failed| failed.len()));
    let _joined = tasks.join_timeout(std::time::Duration::ZERO);
    task
}

/// Writes one word, or changes one note of a lock's holder, somewhere where it may matter.
fn scribble(core: &Core, place: u8, value: u64) {
    let ring = &core.ring;
    let near = u64::from(place >> 3) % NEAR_WORDS;
    // Small values are more often plausible than large ones.
    let value = if value & 1 == 0 { value & 0xf_ffff } else { value };
    let head = ring.head().offset;
    let at = match place & 7 {
        0 => DATA_START.saturating_add(near << 3),
        1 => CONFIG.saturating_sub(128).saturating_add(near << 3),
        2 => RING_START.saturating_add((near % 8) << 3),
        3 => head & !7,
        4 => ring.tail().offset.saturating_sub(near << 3) & !7,
        5 => ring.end().saturating_add(near << 3),
        // The first cells of the first tables of tasks.
        6 => ring.end().saturating_add(4096).saturating_add(near << 3),
        _ => return note(core, near, value),
    };
    if let Some(word) = ring.region.word(at) {
        word.store(value, Ordering::SeqCst);
    }
}

fn note(core: &Core, near: u64, value: u64) {
    let words = u64::try_from(LOCK_DATA_BYTES / 8).unwrap_or(1).max(1);
    let at = usize::try_from((near / 2).checked_rem(words).unwrap_or(0)).unwrap_or(0).saturating_mul(8);
    let store = |held: &Held<'_>| held.store_word(at, value);
    if near.is_multiple_of(2) {
        if let Ok(producer) = core.ring.produce(Patience::None) {
            store(&producer.held);
        }
    } else if let Ok(consumer) = core.ring.consume(Patience::None) {
        store(&consumer.held);
    }
}

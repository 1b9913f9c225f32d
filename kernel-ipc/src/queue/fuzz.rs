//! Fuzzing of what a peer may write into a queue's memory: every operation must end, at worst with an error.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mp_sys::locked::Held;
use mp_sys::memory::make_memfd;
use mp_sys::region::{DATA_START, LOCK_DATA_BYTES};
use mp_sys::robust::Patience;
use rustix::fs::{SealFlags, fcntl_add_seals, ftruncate};

use crate::queue::consumer::Consumer;
use crate::queue::core::Core;
use crate::queue::layout::{CONFIG, RING_START};
use crate::queue::producer::Producer;
use crate::queue::{JoinableQueue, Queue, travel};

/// Words that may be overwritten in the header and at the start of a segment.
const NEAR_WORDS: u64 = 48;

/// Writes the input into a queue and a queue of tasks, nine bytes for each word, and uses the queues in between.
///
/// # Panics
/// If an operation returns a wrong result: that is a finding, as is an operation that does not end.
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

/// Attaches and uses a queue whose memory is that of an honest queue, except where the input overwrites it. The first byte
/// of the input selects the kind of queue and its descriptor. Then follow nine bytes for each word.
///
/// # Panics
/// Same as for [`ring`].
pub(crate) fn forged(input: &[u8]) {
    let Some((kind, writes)) = input.split_first() else { return };
    let is_joinable = kind & 1 != 0;
    let made = if is_joinable {
        JoinableQueue::<Vec<u8>>::bounded(8).map(|tasks| tasks.queue.core)
    } else {
        Queue::<Vec<u8>>::bounded_bytes(1 << 20).map(|queue| queue.core)
    };
    let Ok(core) = made else { return };
    let _put = core.put(&[5; 100], Patience::None);
    let Ok(region) = copy_with(&core, writes) else { return };
    let event = if kind & 2 == 0 { core.event_file().try_clone() } else { region.try_clone() };
    let Ok(event) = event else { return };
    let wanted = Queue::<Vec<u8>>::wanted(is_joinable);
    let Ok(core) = travel::attach(region, event, wanted) else { return };
    let queue = Queue::<()> { core: Arc::clone(&core), items: PhantomData };
    let tasks = JoinableQueue { queue: Queue::<Vec<u8>> { core, items: PhantomData } };
    let _polled = queue.core.event(Patience::None);
    for round in 0..4 {
        put(&queue, round);
        // Items of a queue of tasks can only be taken as tasks.
        if is_joinable {
            drop(use_tasks(&tasks, round));
        } else {
            get(&queue);
        }
    }
    let _closed = queue.close();
    drop(tasks.try_get());
}

/// Copies the memory of a queue into a new file, and overwrites words there.
fn copy_with(core: &Core, writes: &[u8]) -> io::Result<OwnedFd> {
    let honest = File::from(core.ring.region.file().try_clone()?);
    let copy = make_memfd().map_err(io::Error::other)?;
    ftruncate(&copy, core.ring.region.len())?;
    fcntl_add_seals(&copy, SealFlags::SHRINK | SealFlags::GROW)?;
    let copy = File::from(copy);
    let mut page = [0; 8192];
    for at in [0, core.ring.end()] {
        let read = honest.read_at(&mut page, at)?;
        copy.write_all_at(page.get(..read).unwrap_or_default(), at)?;
    }
    for write in writes.chunks_exact(9) {
        let (place, value) = write.split_at(1);
        let near = u64::from(place.first().map_or(0, |place| place >> 2)) << 3;
        let at = match place.first().map_or(0, |place| place & 3) {
            // The lock words themselves are left out, since the library trusts them.
            0 => CONFIG.saturating_add(near % 64),
            1 => DATA_START.saturating_add(near % 256),
            2 => RING_START.saturating_add(near % 512),
            _ => core.ring.end().saturating_add(near % 1024),
        };
        copy.write_all_at(value, at)?;
    }
    Ok(copy.into())
}

fn use_queue(queue: &Queue<()>, round: usize) {
    put(queue, round);
    get(queue);
}

fn put(queue: &Queue<()>, round: usize) {
    let len = if round.is_multiple_of(7) { 70_000 } else { round % 100 };
    let _put = queue.try_put_bytes(&vec![7; len]);
    let _put = queue.core.put_some(&[&[1; 9], &[2; 9]], Patience::None);
}

fn get(queue: &Queue<()>) {
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
    let _is_set = tasks.set_max_deliveries(1);
    let task = tasks.try_get().ok();
    let _counts = (tasks.unfinished(), tasks.failed().map(|failed| failed.len()));
    let _joined = tasks.join_timeout(std::time::Duration::ZERO);
    task
}

/// Overwrites one word, or one note of a lock's holder, at a place where it may matter.
fn scribble(core: &Core, place: u8, value: u64) {
    let ring = &core.ring;
    let near = u64::from(place >> 3) % NEAR_WORDS;
    // Small values are plausible more often than large ones.
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
        if let Ok(producer) = Producer::lock(&core.ring, Patience::None) {
            store(&producer.held);
        }
    } else if let Ok(consumer) = Consumer::lock(&core.ring, Patience::None) {
        store(&consumer.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::BATCH_BYTES_MAX;
    use crate::queue::layout::{HEAD, Position, SEGMENT_HEADER_BYTES, TAIL, record_bytes};
    use crate::queue::refused::Refused;
    use crate::queue::ring::SEGMENT_END;

    const FIRST: u64 = RING_START + SEGMENT_HEADER_BYTES;

    /// Returns a queue whose memory says, as a peer could have written it, that it holds items of these lengths.
    fn with_items(lens: &[usize]) -> Queue<()> {
        let queue = Queue::<()>::new().unwrap();
        let ring = &queue.core.ring;
        let mut at = FIRST;
        for len in lens {
            assert!(ring.region.commit(at, u64::try_from(*len).unwrap()));
            at = at.saturating_add(record_bytes(*len)).min(ring.end());
        }
        let number = u32::try_from(lens.len()).unwrap();
        assert!(ring.region.commit(TAIL, Position { number, offset: at }.to_bits()));
        Consumer::lock(ring, Patience::None).unwrap().held.store_word(SEGMENT_END, ring.end());
        queue
    }

    #[test]
    fn a_batch_ends_at_its_limit() {
        let half = BATCH_BYTES_MAX / 2 - 64;
        for (lens, expected) in [
            (vec![half, half, 0], 2),
            (vec![half, half + 8, 0], 1),
            (vec![BATCH_BYTES_MAX, 0], 1),
            (vec![0; 9], 9),
        ] {
            let queue = with_items(&lens);
            let taken = queue.core.get_some(usize::MAX, Patience::None, |_, _| Ok(()));
            assert_eq!(taken.unwrap(), expected, "{lens:?}");
        }
    }

    #[test]
    fn a_batch_ends_before_a_corrupt_item() {
        let queue = with_items(&[1, 2, usize::MAX - 1]);
        let take = || queue.core.get_some(usize::MAX, Patience::None, |_, _| Ok(()));
        assert_eq!(take().unwrap(), 2);
        assert!(matches!(take(), Err(Refused::Corrupt(_))));
    }

    #[test]
    fn no_record_lies_outside_of_the_segments() {
        let queue = with_items(&[8]);
        let ring = &queue.core.ring;
        for offset in [DATA_START, HEAD, CONFIG, ring.end(), ring.end() - 8] {
            assert!(ring.region.commit(HEAD, Position { number: 0, offset }.to_bits()));
            assert!(ring.region.commit(TAIL, Position { number: 1, offset }.to_bits()));
            for note in [0, u64::MAX] {
                Consumer::lock(ring, Patience::None).unwrap().held.store_word(SEGMENT_END, note);
                let _small = queue.core.get(Patience::None, |_, record| {
                    assert!(record.item() >= FIRST && record.item() <= ring.end(), "{offset}");
                    Err::<(), _>(Refused::Closed)
                });
                let _put = queue.try_put_bytes(&[7; 64]);
                let magic = ring.region.word(CONFIG).unwrap().load(Ordering::Relaxed);
                assert_eq!(magic, u64::from_ne_bytes(*b"mp-queue"), "the fixed words are unchanged");
            }
        }
    }
}

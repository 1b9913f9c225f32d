//! The core of all queues: a ring, the waits for items and for room, and the descriptor that can be polled.
//!
//! The core handles bytes only; types are added above it. An operation takes one lock, makes its one step, releases the
//! lock, and wakes a waiting process. An operation that has to wait holds no lock while it waits.

#[cfg(feature = "tokio")]
mod asynchronous;
mod event;
mod lease;
mod locks;
mod wait;

pub(super) use self::lease::Leased;

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::sync::{Arc, OnceLock};

use mp_sys::adaptive::{Budget, current_cpu};
use mp_sys::crash;
use mp_sys::memory::MemoryError;
use mp_sys::quiet::Quiet;
use mp_sys::robust::Patience;
use mp_sys::wire::Decodes;

use crate::limits::ITEM_BYTES_MAX;
use crate::queue::config::Config;
use crate::queue::consumer::{Consumer, Cursor, Record};
use crate::queue::core::event::News;
use crate::queue::doorbell;
use crate::queue::flag::Flag;
use crate::queue::layout::{CLOSED, CONSUMER_CPU, DRAINED_BELL, FILLED_BELL, PRODUCER_CPU, record_bytes};
use crate::queue::leases::Leases;
use crate::queue::lull::Lull;
use crate::queue::producer::{Place, Producer};
use crate::queue::refused::Refused;
use crate::queue::ring::Ring;

/// [`limits::BATCH_BYTES_MAX`](crate::limits::BATCH_BYTES_MAX), in the type of offsets.
const BATCH_BYTES_MAX: u64 = crate::limits::BATCH_BYTES_MAX as u64;
/// The number of operations after which a side stores again on which CPU it runs.
const SAY_CPU_EVERY: u32 = 16;

/// A queue of bytes.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) ring: Ring,
    pub(super) config: Config,
    leases: Option<Leases>,
    event: Flag,
    put_budget: Budget,
    get_budget: Budget,
    lull: Lull,
    #[cfg(feature = "tokio")]
    tasks: asynchronous::Tasks,
    /// Decodes an item again as a check. Set if a handle of this process has a type that can be decoded.
    pub(super) decodes: OnceLock<Decodes>,
}

impl Core {
    pub(super) fn new(config: Config) -> Result<Self, MemoryError> {
        let event = Flag::new()?;
        let (ring, leases) = config.make_ring()?;
        Ok(Self::over(config, ring, leases, event))
    }

    /// Makes a handle of an existing queue.
    pub(super) fn over(config: Config, ring: Ring, leases: Option<Leases>, event: Flag) -> Self {
        let (put_budget, get_budget, lull) = (Budget::new(), Budget::new(), Lull::new());
        Self {
            ring,
            config,
            #[cfg(feature = "tokio")]
            tasks: asynchronous::Tasks::new(leases.is_some()),
            leases,
            event,
            put_budget,
            get_budget,
            lull,
            decodes: OnceLock::new(),
        }
    }

    /// Returns the event descriptor, for sending it.
    pub(super) fn event_file(&self) -> &Arc<OwnedFd> {
        self.event.file()
    }

    #[inline]
    fn half_word(&self, at: u64) -> &AtomicU32 {
        self.ring.region.half_word(at).expect("the queue's own words lie in its region")
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.half_word(CLOSED).load(Ordering::Acquire) != 0
    }

    /// Puts one item.
    #[inline]
    pub(super) fn put(&self, item: &[u8], patience: Patience) -> Result<(), Refused> {
        let record = self.fits(item.len())?;
        let mut others = None;
        loop {
            let mut producer = self.produce(patience)?;
            if self.is_closed() {
                return Err(Refused::Closed);
            }
            if self.has_room(&producer, record) {
                let place = producer.place(item.len())?;
                producer.write(place, item)?;
                let news = self.signal(&producer);
                let end = place.at.saturating_add(record);
                producer.commit(place, 1, end);
                drop(producer);
                self.filled(news);
                return Ok(());
            }
            drop(producer);
            others = self.wait_for_room(record, patience)?.or(others);
        }
    }

    /// Returns the size of the record for an item of `len` bytes, if the queue accepts such an item.
    #[inline]
    fn fits(&self, len: usize) -> Result<u64, Refused> {
        let record = record_bytes(len);
        if len > ITEM_BYTES_MAX || record > self.config.max_bytes {
            let limit = usize::try_from(self.config.max_bytes).unwrap_or(usize::MAX).min(ITEM_BYTES_MAX);
            return Err(Refused::TooLarge { found: len, limit });
        }
        Ok(record)
    }

    #[inline]
    fn has_room(&self, producer: &Producer<'_>, record: u64) -> bool {
        let Config { max_items, max_bytes, .. } = self.config;
        producer.items(max_items) < max_items
            && (max_bytes == u64::MAX || self.ring.bytes().saturating_add(record) <= max_bytes)
    }

    /// Puts as many of the items as there is room for, in one step, and returns their number.
    pub(super) fn put_some(&self, items: &[&[u8]], patience: Patience) -> Result<usize, Refused> {
        let Some(first) = items.first() else {
            return Ok(0);
        };
        for item in items {
            self.fits(item.len())?;
        }
        let first = record_bytes(first.len());
        let mut others = None;
        loop {
            let mut producer = self.produce(patience)?;
            if self.is_closed() {
                return Err(Refused::Closed);
            }
            let (count, news) = self.write_some(&mut producer, items)?;
            drop(producer);
            if count > 0 {
                self.filled(news);
                return Ok(count);
            }
            others = self.wait_for_room(first, patience)?.or(others);
        }
    }

    /// Writes items into one segment, and commits them together.
    fn write_some(&self, producer: &mut Producer<'_>, items: &[&[u8]]) -> Result<(usize, News), Refused> {
        let Some(first) = items.first().map(|item| item.len()) else {
            return Ok((0, News::Told));
        };
        let Config { max_items, max_bytes, .. } = self.config;
        let wanted = u64::try_from(items.len()).unwrap_or(u64::MAX);
        let present = producer.items(max_items.saturating_sub(wanted));
        let room = usize::try_from(max_items.saturating_sub(present)).unwrap_or(usize::MAX);
        let bytes_left = max_bytes.saturating_sub(if max_bytes == u64::MAX { 0 } else { self.ring.bytes() });
        if room == 0 || record_bytes(first) > bytes_left {
            return Ok((0, News::Told));
        }
        let place = producer.place(first)?;
        let end_max = place.segment.end.min(place.at.saturating_add(bytes_left));
        let (mut count, mut at) = (0_u32, place.at);
        for item in items.iter().take(room) {
            let end = at.saturating_add(record_bytes(item.len()));
            if end > end_max {
                break;
            }
            producer.write(Place { at, ..place }, item)?;
            (at, count) = (end, count.saturating_add(1));
        }
        let news = self.signal(producer);
        producer.commit(place, count, at);
        Ok((usize::try_from(count).unwrap_or(usize::MAX), news))
    }

    /// Passes the next item to `take` and removes it. The item stays if `take` fails.
    #[inline]
    pub(super) fn get<T>(
        &self,
        patience: Patience,
        mut take: impl FnMut(&Ring, &Record) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let mut taken = None;
        self.get_some(1, patience, |ring, record| {
            taken = Some(take(ring, record)?);
            Ok(())
        })?;
        // `get_some` returned, so `take` was called.
        taken.ok_or(Refused::NotNow)
    }

    /// Passes up to `max` available items to `take`, and removes them together. If `take` fails, that item and the later
    /// ones stay.
    #[inline]
    pub(super) fn get_some(
        &self,
        max: usize,
        patience: Patience,
        mut take: impl FnMut(&Ring, &Record) -> Result<(), Refused>,
    ) -> Result<usize, Refused> {
        if max == 0 {
            return Ok(0);
        }
        let mut others = None;
        loop {
            let consumer = self.consume(patience)?;
            let from = consumer.cursor();
            if consumer.has_item(&from) {
                return self.take_some(consumer, from, max, &mut take);
            }
            drop(consumer);
            others = self.wait_for_item(from.position, patience)?.or(others);
        }
    }

    #[inline]
    fn take_some(
        &self,
        consumer: Consumer<'_>,
        from: Cursor,
        max: usize,
        take: &mut impl FnMut(&Ring, &Record) -> Result<(), Refused>,
    ) -> Result<usize, Refused> {
        let (mut to, mut count, mut bytes) = (from, 0_usize, 0_u64);
        loop {
            let record = match consumer.record(&to) {
                Err(corrupt) if count == 0 => return Err(corrupt.into()),
                Err(_) => break,
                Ok(record) => record,
            };
            let with_this = bytes.saturating_add(record_bytes(record.len));
            if count > 0 && with_this > BATCH_BYTES_MAX {
                break;
            }
            match take(&self.ring, &record) {
                Err(refused) if count == 0 => return Err(refused),
                Err(_) => break,
                Ok(()) => {}
            }
            to = consumer.after(&to, &record);
            count = count.saturating_add(1);
            bytes = with_this;
            if count >= max || !consumer.has_item(&to) {
                break;
            }
        }
        let left_segment = consumer.commit(&from, &to, bytes);
        self.taken(consumer, &to, left_segment);
        Ok(count)
    }

    /// Finishes a consumer's operation after its commit.
    #[inline]
    fn taken(&self, consumer: Consumer<'_>, to: &Cursor, left_segment: bool) {
        if left_segment {
            return self.taken_to_the_end(consumer, to);
        }
        self.taken_between(consumer, to);
    }

    /// Finishes like [`taken`](Self::taken), if the consumers left a segment that may now be surplus.
    #[cold]
    fn taken_to_the_end(&self, consumer: Consumer<'_>, to: &Cursor) {
        // The quiet time lasts until both locks are released.
        let quiet = Quiet::begin();
        self.trim();
        self.taken_between(consumer, to);
        drop(quiet);
    }

    #[inline]
    fn taken_between(&self, consumer: Consumer<'_>, to: &Cursor) {
        // Tasks lower the flag before they wait.
        let is_last = self.is_polled() && !consumer.has_item(to);
        drop(consumer);
        if self.config.is_bounded() {
            self.say_cpu(CONSUMER_CPU, to.position.number);
            // The commit was a plain store. Only bounded queues need more, since only their producers wait.
            fence(Ordering::SeqCst);
            doorbell::ring(self.half_word(DRAINED_BELL));
            self.wake_tasks();
        }
        if is_last {
            // If it stays readable, the next one that finds the queue empty tries again.
            let _still_readable = self.unsignal(Patience::TryOnce);
        }
    }

    pub(in crate::queue) fn max_deliveries(&self) -> u32 {
        self.leases.as_ref().map_or(0, |leases| leases.max_deliveries(&self.ring))
    }

    pub(in crate::queue) fn set_max_deliveries(&self, count: u32) {
        if let Some(leases) = &self.leases {
            leases.set_max_deliveries(&self.ring, count);
        }
    }

    /// Gives back surplus memory after the consumers left a segment. If a producer holds the lock, the producer does it.
    #[cold]
    fn trim(&self) {
        if let Ok(mut producer) = Producer::lock(&self.ring, Patience::None) {
            producer.trim();
        }
    }

    /// Finishes a producer's operation after its commit.
    #[inline]
    fn filled(&self, news: News) {
        self.say_cpu(PRODUCER_CPU, self.ring.tail().number);
        doorbell::ring(self.half_word(FILLED_BELL));
        self.tell(news);
    }

    #[inline]
    fn say_cpu(&self, at: u64, number: u32) {
        if number.is_multiple_of(SAY_CPU_EVERY) {
            self.half_word(at).store(current_cpu().wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// Closes the queue for all processes. Its items can still be taken.
    pub(super) fn close(&self, patience: Patience) -> Result<(), Refused> {
        let producer = Producer::lock(&self.ring, patience)?;
        self.half_word(CLOSED).store(1, Ordering::SeqCst);
        crash::point();
        let news = self.signal(&producer);
        drop(producer);
        self.tell(news);
        for bell in [FILLED_BELL, DRAINED_BELL] {
            doorbell::ring_for_all(self.half_word(bell));
        }
        self.wake_tasks();
        Ok(())
    }
}

//! What a worker of a pool does: take chunks, call the function for each item, report.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use kernel_ipc::{GetError, PutError, Queue};
use mp_sys::crash;
use mp_sys::deadline::{now_nanos, tick_nanos};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shm_core::RawArray;

use crate::outcome::PANIC_MESSAGE_BYTES_MAX;
use crate::pool::chunk::{Order, TOGETHER, next_part};
use crate::pool::encoding::{self, encode};
use crate::pool::report::{Kind, Report};
use crate::start::whole;

/// A report is sent when it has this many bytes,
const REPORT_BYTES: usize = 32 << 10;
/// or when the oldest outcome in it is this old by the clock's ticks, which are up to `mp_sys::deadline::TICK_MAX` apart. So
/// a worker that dies costs only a few milliseconds of work.
const REPORT_AGE: Duration = Duration::from_millis(2);
/// How an item ends whose index the worker does not have.
pub(super) const NO_ITEM: Kind = Kind::Argument;

/// What a worker shares with its pool about the item that it works on: three words for each worker.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    words: RawArray<u64>,
    at: usize,
}

impl Progress {
    const WORDS: usize = 3;

    /// Makes the words for a number of workers.
    pub(super) fn words(workers: usize) -> Result<RawArray<u64>, String> {
        RawArray::zeroed(workers.saturating_mul(Self::WORDS)).map_err(|error| error.to_string())
    }

    pub(super) fn of(words: &RawArray<u64>, worker: usize) -> Self {
        Self { words: words.clone(), at: worker.saturating_mul(Self::WORDS) }
    }

    /// Records that work on a chunk of a job begins.
    fn enter(&self, job: u64) {
        self.end();
        self.put(2, job);
    }

    /// Records that work on an item begins.
    #[inline]
    fn begin(&self, index: u64, is_timed: bool) {
        if is_timed {
            self.put(1, now_nanos());
        }
        self.put(0, index.saturating_add(1));
    }

    /// Records that no item is worked on.
    pub(super) fn end(&self) {
        self.put(0, 0);
    }

    /// Returns the job and the index of the item that is worked on.
    pub(super) fn item(&self) -> Option<(u64, u64)> {
        let index = self.words.get(self.at).ok()?.checked_sub(1)?;
        Some((self.words.get(self.at.saturating_add(2)).ok()?, index))
    }

    /// Returns when work on the present item began, in nanoseconds of the monotonic clock.
    pub(super) fn began(&self) -> u64 {
        self.words.get(self.at.saturating_add(1)).unwrap_or(0)
    }

    #[inline]
    fn put(&self, word: usize, value: u64) {
        // The array was made for all workers.
        let _in_range = self.words.set(self.at.saturating_add(word), value);
    }
}

/// The place at which a worker works: its queues and its words.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) chunks: Queue<Vec<u8>>,
    pub(super) reports: Queue<Vec<u8>>,
    pub(super) progress: Progress,
    /// How many items a worker does before another process takes its place.
    pub(super) items_max: u64,
    /// Whether the pool looks at how long an item takes.
    pub(super) is_timed: bool,
}

/// How a worker arrives in another process.
pub(super) type Luggage = (Queue<Vec<u8>>, Queue<Vec<u8>>, RawArray<u64>, u64, u64, bool);

impl Station {
    /// Returns what has to travel to a worker.
    pub(super) fn luggage(&self) -> Luggage {
        let Self { chunks, reports, progress, items_max, is_timed } = self;
        let at = u64::try_from(progress.at).unwrap_or(u64::MAX);
        (chunks.clone(), reports.clone(), progress.words.clone(), at, *items_max, *is_timed)
    }

    pub(super) fn of((chunks, reports, words, at, items_max, is_timed): Luggage) -> Self {
        let progress = Progress { words, at: usize::try_from(at).unwrap_or(usize::MAX) };
        Self { chunks, reports, progress, items_max, is_timed }
    }
}

/// What has kept a worker from going on. The pool starts another one.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("{0}")]
    Get(#[from] GetError),
    #[error("{0}")]
    Put(#[from] PutError),
    #[error("a chunk cannot be understood")]
    Garbage,
}

/// Works until the worker gets a chunk without items, or it has done its number of items.
///
/// # Panics
/// If a queue cannot be used any more: the pool reports the message.
pub(super) fn work(
    station: &Station,
    mut run: impl FnMut(u64, &[u8], &mut Vec<u8>) -> Result<(), (Kind, String)>,
) {
    let mut desk = Desk { report: Report::default(), begun: 0 };
    if let Err(stop) = desk.work(station, &mut run) {
        panic!("a worker of a pool cannot go on: {stop}");
    }
}

/// What a worker keeps between two items.
struct Desk {
    report: Report,
    /// When the report was begun, in nanoseconds.
    begun: u64,
}

impl Desk {
    fn work(
        &mut self,
        station: &Station,
        run: &mut impl FnMut(u64, &[u8], &mut Vec<u8>) -> Result<(), (Kind, String)>,
    ) -> Result<(), Stop> {
        let mut done = 0_u64;
        while done < station.items_max {
            let bytes = self.next_chunk(station)?;
            let order = Order::of(&bytes).ok_or(Stop::Garbage)?;
            if order.count == 0 {
                // The pool is closed.
                break;
            }
            done = done.saturating_add(self.work_on(station, order, run)?);
        }
        self.send(station)
    }

    /// Returns the next chunk. A report waits only while there is more to do, and only one of results that are needed together
    /// is still here.
    fn next_chunk(&mut self, station: &Station) -> Result<Vec<u8>, Stop> {
        if self.report.count() > 0 {
            match station.chunks.try_get_bytes() {
                Ok(bytes) => return Ok(bytes),
                Err(GetError::Empty | GetError::Lock(_)) => self.send(station)?,
                Err(error) => return Err(error.into()),
            }
        }
        station.progress.end();
        Ok(station.chunks.get_bytes()?)
    }

    fn work_on(
        &mut self,
        station: &Station,
        order: Order<'_>,
        run: &mut impl FnMut(u64, &[u8], &mut Vec<u8>) -> Result<(), (Kind, String)>,
    ) -> Result<u64, Stop> {
        station.progress.enter(order.job);
        let mut rest = order;
        loop {
            // A panic leaves only what the function itself shares half changed, as in a thread.
            match catch_unwind(AssertUnwindSafe(|| self.work_through(station, &mut rest, run))) {
                Ok(worked) => break worked?,
                Err(payload) => {
                    self.report.fail(Kind::Panicked, &kept(whole::message_of(&*payload)));
                    self.ended(station, &mut rest)?;
                }
            }
        }
        if order.job != TOGETHER || order.is_urgent {
            // Somebody may wait for just these results, however long the next chunk takes.
            self.send(station)?;
        }
        Ok(order.count.into())
    }

    /// Works on the items that are left of a chunk. If the function panics, the first of them is the one that it was called
    /// for, and its outcome is open.
    fn work_through(
        &mut self,
        station: &Station,
        rest: &mut Order<'_>,
        run: &mut impl FnMut(u64, &[u8], &mut Vec<u8>) -> Result<(), (Kind, String)>,
    ) -> Result<(), Stop> {
        while rest.count > 0 {
            let argument = next_part(&mut rest.arguments).unwrap_or_default();
            if self.report.count() == 0 {
                self.report.begin(rest.job, rest.first);
                self.begun = tick_nanos();
            }
            crash::point();
            station.progress.begin(rest.first, station.is_timed);
            crash::point();
            match run(rest.first, argument, self.report.open()) {
                Ok(()) => self.report.close(),
                Err((kind, reason)) => self.report.fail(kind, &reason),
            }
            self.ended(station, rest)?;
        }
        Ok(())
    }

    /// Goes on behind the first item of `rest`, whose outcome is in the report.
    #[inline]
    fn ended(&mut self, station: &Station, rest: &mut Order<'_>) -> Result<(), Stop> {
        rest.first = rest.first.saturating_add(1);
        rest.count = rest.count.saturating_sub(1);
        if self.is_time() { self.send(station) } else { Ok(()) }
    }

    /// Returns whether the report should be sent now.
    #[inline]
    fn is_time(&self) -> bool {
        let age = Duration::from_nanos(tick_nanos().saturating_sub(self.begun));
        age >= REPORT_AGE || self.report.as_bytes().len() >= REPORT_BYTES
    }

    fn send(&mut self, station: &Station) -> Result<(), Stop> {
        if self.report.count() > 0 {
            crash::point();
            station.reports.put_bytes(self.report.as_bytes())?;
            crash::point();
            self.report.clear();
        }
        Ok(())
    }
}

/// Appends an encoded result.
#[inline]
pub(super) fn give<R: Serialize>(value: &R, into: &mut Vec<u8>) -> Result<(), (Kind, String)> {
    encode(value, into).map_err(|why| (Kind::Result, why))
}

/// Decodes an argument.
pub(super) fn decode<A: DeserializeOwned>(bytes: &[u8]) -> Result<A, (Kind, String)> {
    encoding::decode(bytes).map_err(|why| (Kind::Argument, why))
}

/// Returns the part of a panic's message that is kept. A character that is cut in half reads as U+FFFD.
fn kept(message: &str) -> String {
    let bytes = message.as_bytes();
    String::from_utf8_lossy(bytes.get(..PANIC_MESSAGE_BYTES_MAX).unwrap_or(bytes)).into_owned()
}

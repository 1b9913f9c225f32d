//! Lulls: short pauses of a consumer that is faster than the producers.
//!
//! Each look at the tail takes its cache line from the producer, which then waits for the line at its next item. A consumer
//! that looks as often as it can slows down both sides (measured, one core each: 165 ns for a message instead of 110). So
//! the consumer of a stream pauses for so long that several items arrive in the meantime. If only one item arrives, as when
//! two processes exchange requests and answers, it stops pausing, and tries again now and then.
//!
//! If the peer runs on the same CPU, the waiting side lets it run instead. The peer then continues until it has to wait
//! itself, and is not interrupted every few items to wake a sleeper: 15 items of 64 KiB for each switch instead of 5 to 7,
//! if there is room for 15.

use std::sync::atomic::{AtomicU32, Ordering};

use mp_sys::deadline::now_nanos;

/// Spin-loop turns of the longest lull, about a microsecond.
const TURNS_MAX: u32 = 256;
/// Spin-loop turns of the shortest lull.
const TURNS_MIN: u32 = 16;
/// Turns in a row that a peer on the same CPU gets before the next wait sleeps at once. Without this limit, two processes
/// could take turns forever while others sleep.
const TURNS_IN_A_ROW: u32 = 8;
/// The longest turn that pays. A longer one went to another process, which would not have run before a woken one.
const TURN_NANOS_MAX: u64 = 300_000;
/// The number of waits that sleep at once after a turn that did not pay.
const REST: u32 = 64;
/// The number of waits between two attempts to pause.
const TRY_EVERY: u32 = 8;

/// How long to pause. Each handle has one. Several threads may change it at once: it is only an estimate.
#[derive(Debug)]
pub(super) struct Lull {
    turns: AtomicU32,
    waits: AtomicU32,
    /// Turns in a row that paid.
    given: AtomicU32,
    /// The number of waits that still sleep at once.
    rest: AtomicU32,
}

impl Lull {
    pub(super) const fn new() -> Self {
        Self {
            turns: AtomicU32::new(0),
            waits: AtomicU32::new(0),
            given: AtomicU32::new(0),
            rest: AtomicU32::new(0),
        }
    }

    /// Lets the peer on the same CPU run, if that paid in the last turns. Returns whether the caller's wait is `done`
    /// afterwards.
    pub(super) fn give_a_turn(&self, done: impl Fn() -> bool) -> bool {
        let rest = self.rest.load(Ordering::Relaxed);
        if rest > 0 {
            self.rest.store(rest.wrapping_sub(1), Ordering::Relaxed);
            return false;
        }
        let started = now_nanos();
        std::thread::yield_now();
        let is_done = done();
        let paid = is_done && now_nanos().saturating_sub(started) <= TURN_NANOS_MAX;
        let given = self.given.load(Ordering::Relaxed).wrapping_add(1);
        let (given, rest) = match paid {
            true if given < TURNS_IN_A_ROW => (given, 0),
            true => (0, 1),
            false => (0, REST),
        };
        self.given.store(given, Ordering::Relaxed);
        self.rest.store(rest, Ordering::Relaxed);
        is_done
    }

    /// Pauses, if that paid in the last turns. `items` returns the number of items afterwards.
    pub(super) fn pause(&self, items: impl FnOnce() -> u32) {
        let turns = self.turns.load(Ordering::Relaxed);
        let waits = self.waits.load(Ordering::Relaxed).wrapping_add(1);
        self.waits.store(waits, Ordering::Relaxed);
        if turns == 0 && !waits.is_multiple_of(TRY_EVERY) {
            return;
        }
        let turns = turns.max(TURNS_MIN);
        for _ in 0..turns {
            std::hint::spin_loop();
        }
        let next = match items() {
            0 | 1 => turns / 2,
            _ => turns.saturating_mul(2).min(TURNS_MAX),
        };
        self.turns.store(if next < TURNS_MIN { 0 } else { next }, Ordering::Relaxed);
    }
}

//! Lulls: a consumer that is faster than the producers looks away for a moment.
//!
//! Each look at the tail takes its cache line from the producer, which then waits for the line at its next item: a consumer
//! that looks as often as it can halves the speed of both (measured, one core each: 165 ns a message against 110). So a
//! consumer of a stream looks away for so long that several items come meanwhile. If only one comes, as when two processes
//! ask and answer, it stops looking away, and tries again now and then.
//!
//! Beside a peer on the same CPU, who waits lets it run instead. It then goes on until it has to wait itself, and is not
//! interrupted to wake a sleeper after each few items: 15 items of 64 KiB for each switch instead of 5 to 7, where 15 fit.

use std::sync::atomic::{AtomicU32, Ordering};

use mp_sys::deadline::now_nanos;

/// Turns of the processor's pause of the longest lull, about a microsecond.
const TURNS_MAX: u32 = 256;
/// Turns of the shortest one.
const TURNS_MIN: u32 = 16;
/// Turns in a row that a peer on the same CPU is given, before the next wait sleeps at once: else two would take turns for
/// ever between themselves, beside others that sleep.
const TURNS_IN_A_ROW: u32 = 8;
/// A turn that took longer went to somebody else, who would not have been run before one that is woken.
const TURN_NANOS_MAX: u64 = 300_000;
/// Waits that sleep at once after a turn that did not pay.
const REST: u32 = 64;
/// Waits between two tries.
const TRY_EVERY: u32 = 8;

/// How long to look away. One for each handle; what several threads learn at once is a guess in any case.
#[derive(Debug)]
pub(super) struct Lull {
    turns: AtomicU32,
    waits: AtomicU32,
    /// Turns in a row that paid.
    given: AtomicU32,
    /// Waits that are to sleep at once.
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

    /// Lets the peer run, which is on the same CPU, if that paid the last times. Says whether what the caller waits for is
    /// `done` afterwards.
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

    /// Looks away, if that paid the last times. `items` says how many there are afterwards.
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

//! Lulls: a consumer that is faster than the producers looks away for a moment.
//!
//! Each look at the tail takes its cache line from the producer, which then waits for the line at its next item: a consumer
//! that looks as often as it can halves the speed of both (measured, one core each: 165 ns a message against 110). So a
//! consumer of a stream looks away for so long that several items come meanwhile. If only one comes, as when two processes
//! ask and answer, it stops looking away, and tries again now and then.

use std::sync::atomic::{AtomicU32, Ordering};

/// Turns of the processor's pause of the longest lull, about a microsecond.
const TURNS_MAX: u32 = 256;
/// Turns of the shortest one.
const TURNS_MIN: u32 = 16;
/// Waits between two tries.
const TRY_EVERY: u32 = 8;

/// How long to look away. One for each handle; what several threads learn at once is a guess in any case.
#[derive(Debug)]
pub(super) struct Lull {
    turns: AtomicU32,
    waits: AtomicU32,
}

impl Lull {
    pub(super) const fn new() -> Self {
        Self { turns: AtomicU32::new(0), waits: AtomicU32::new(0) }
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

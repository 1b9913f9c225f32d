//! The times of the kills: `--kill N` spreads N kills over the run, all of them during the work.
//!
//! A run of a few milliseconds would be over before its second kill. So the parent holds results back: item `i` may be
//! committed once more than `i` items are released, and the last item is released after the last kill. With `k` of `N`
//! kills done,
//!
//! - the next one is due when the share `(k + 1) / (N + 1)` of the items is finished, and a task was handed out since the
//!   one before, so that kills fall on work and not on workers that wait for it, and
//! - the share `(k + 2) / (N + 1)` is released, so that on a large tree nobody has to wait, but the last item is never
//!   released early.
//!
//! With one item both shares are 0 items until the last kill: 20 kills fall on that one item.
//!
//! # Why nobody waits for ever
//! A kill that is due needs a living worker, and there is one while a task is unfinished. But all workers may be held back
//! with later items when the task of a dead one is handed out again, which takes the queue up to 60 ms. So a kill is also
//! due when nothing has happened for [`STALLED`], and the victim's successor gets the oldest task that came back.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Longer than an item takes, and longer than the queue takes to notice that a worker died.
const STALLED: Duration = Duration::from_millis(100);
/// The longest pause before a kill: time for a worker to begin, to count something, and to be held back.
const PAUSE_MAX_MICROS: u64 = 2000;
/// Pauses are shortened up to 2^7 times, so that as many kills fall into the first microseconds as into the last ones.
const SHORTENINGS: u64 = 8;

/// Whether a task was handed out since the newest kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HasNewTask {
    Yes,
    No,
}

/// The kills of one run.
#[derive(Debug)]
pub(crate) struct KillPlan {
    items: usize,
    planned: u32,
    done: u32,
    random: Random,
}

impl KillPlan {
    pub(crate) fn new(items: usize, planned: u32) -> Self {
        Self { items, planned, done: 0, random: Random::from_system() }
    }

    /// Kills that ended a worker.
    pub(crate) fn done(&self) -> u32 {
        self.done
    }

    pub(crate) fn has_more(&self) -> bool {
        self.done < self.planned
    }

    /// Returns whether to kill now, with so many items finished, and the last item or worker `idle` ago.
    pub(crate) fn is_due(&self, finished: usize, has_new_task: HasNewTask, idle: Duration) -> bool {
        let is_in_turn = finished >= self.share(self.done + 1) && has_new_task == HasNewTask::Yes;
        self.has_more() && (is_in_turn || idle >= STALLED)
    }

    /// Records that a worker was killed.
    pub(crate) fn record_kill(&mut self) {
        self.done += 1;
    }

    /// Returns how many items may be committed.
    pub(crate) fn released(&self) -> usize {
        if !self.has_more() {
            return self.items;
        }
        self.share(self.done + 2).min(self.items.saturating_sub(1))
    }

    /// Returns a random time, so that workers die at any point of their lives.
    pub(crate) fn pause(&mut self) -> Duration {
        let micros = self.random.next() % PAUSE_MAX_MICROS;
        Duration::from_micros(micros >> (self.random.next() % SHORTENINGS))
    }

    /// Chooses one of `count` workers.
    pub(crate) fn victim(&mut self, count: usize) -> usize {
        let count = (count as u64).max(1);
        usize::try_from(self.random.next() % count).unwrap_or(0)
    }

    /// `parts` of `planned + 1` parts of the items, rounded down.
    fn share(&self, parts: u32) -> usize {
        let share = self.items as u64 * u64::from(parts) / (u64::from(self.planned) + 1);
        usize::try_from(share).map_or(self.items, |share| share.min(self.items))
    }
}

/// Marsaglia's xorshift64: good enough to choose a victim.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn from_system() -> Self {
        // Zero is the one state that the generator never leaves.
        Self(RandomState::new().build_hasher().finish().max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kill_comes_due_before_the_last_item_is_released() {
        for items in 1..60 {
            for planned in 0..70 {
                let mut plan = KillPlan::new(items, planned);
                let mut released = 0;
                while plan.has_more() {
                    assert!(plan.released() >= released, "what is released stays released");
                    released = plan.released();
                    assert!(released < items);
                    assert!(
                        plan.is_due(released, HasNewTask::Yes, Duration::ZERO),
                        "{items} items, {planned} kills"
                    );
                    plan.record_kill();
                }
                assert_eq!(plan.released(), items);
                assert!(!plan.is_due(items, HasNewTask::Yes, STALLED), "no kill too many");
            }
        }
    }

    #[test]
    fn kills_are_spread_over_a_large_tree() {
        let mut plan = KillPlan::new(2100, 20);
        let is_due = |plan: &KillPlan, finished| plan.is_due(finished, HasNewTask::Yes, Duration::ZERO);
        assert_eq!([99, 100].map(|finished| is_due(&plan, finished)), [false, true]);
        assert!(!plan.is_due(100, HasNewTask::No, Duration::ZERO), "nobody would be at work");
        assert_eq!(plan.released(), 200);
        plan.record_kill();
        assert_eq!([199, 200].map(|finished| is_due(&plan, finished)), [false, true]);
    }

    #[test]
    fn a_run_that_does_not_move_is_killed_into() {
        assert!(KillPlan::new(2100, 20).is_due(0, HasNewTask::No, STALLED));
    }

    #[test]
    fn every_worker_may_be_the_victim() {
        let mut plan = KillPlan::new(1, 1);
        let mut hits = [0; 4];
        for _ in 0..400 {
            hits[plan.victim(4)] += 1;
        }
        assert!(hits.iter().all(|hits| *hits > 0), "{hits:?}");
        assert_eq!(plan.victim(0), 0);
    }
}

//! The word of a lock: what lockers, unlockers and the kernel do with it, over any words.
//!
//! | bits of the word | meaning | who stores it |
//! |---|---|---|
//! | 0-29, [`OWNER`] | the kernel's id of the thread that holds the lock; 0: free | lockers and unlockers; the kernel when the owner dies |
//! | 30, [`OWNER_DIED`], without an owner | the newest owner died | the kernel |
//! | 30, [`ASKING`], with an owner | the owner asks whether anybody sleeps | the owner; a new sleeper clears it |
//! | 31, [`WAITERS`] | there may be sleepers | a thread that is about to sleep; the kernel keeps it |
//!
//! # Why nobody sleeps beside a free lock
//! Each sleeper makes sure that `WAITERS` is set, and the kernel compares the word once more before the sleep. While
//! anybody sleeps, the bit stays set: a locker keeps it, the kernel keeps it when an owner dies, and an unlocker leaves
//! it in the free word. So each owner's unlock wakes the next sleeper, even if this owner overtook the thread that was
//! woken before, and that thread was then killed. If the woken thread is killed before anybody has taken the word, the
//! kernel finds its pending operation and a word without an owner, and wakes the next sleeper. (Linux 6.2 does so;
//! older kernels do so only for a word of 0, and sleepers sleep in slices there.)
//!
//! # How the bit goes away
//! An unlocker that woke nobody takes the free word once more, as [`ASKING`], and tries again to wake somebody. A new
//! sleeper clears `ASKING` before it sleeps. If nobody was woken and `ASKING` is still there, nobody sleeps, and the
//! word becomes 0 in the same step. It is not enough to clear the bit of a *free* word after waking nobody: in between,
//! another owner may have come and gone, two others may have fallen asleep, and only one of them may have been woken.
//!
//! # What the kernel does when a thread dies
//! It walks the thread's list, and then looks at the pending lock. If a word names the thread, the kernel stores
//! `OWNER_DIED`, keeps `WAITERS`, and wakes one sleeper if `WAITERS` was set. If the pending word has no owner, it
//! wakes one sleeper.
//!
//! Source: kernel/futex/core.c `handle_futex_death`, futex(2).

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::crash;
use crate::robust::{AcquireError, Acquired, Patience};
use crate::word::Word32;

/// The bits that name the owner.
pub(super) const OWNER: u32 = libc::FUTEX_TID_MASK;
/// There may be sleepers.
pub(super) const WAITERS: u32 = libc::FUTEX_WAITERS;
/// Without an owner: the newest owner died.
pub(super) const OWNER_DIED: u32 = libc::FUTEX_OWNER_DIED;
/// With an owner: the owner asks whether anybody sleeps.
pub(super) const ASKING: u32 = OWNER_DIED;

/// How a lock's waiters and unlockers behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    /// The longest single sleep.
    pub(super) slice: Duration,
    /// An unlock stores 0 and forgets who else sleeps, as the C library's does. Slices make up for that.
    pub(super) forgets: bool,
}

/// Takes a word that is free and has no waiters; otherwise returns what the word holds.
#[inline(always)]
pub(super) fn try_take<W: Word32>(word: &W, own: u32) -> Result<(), u32> {
    word.exchange(0, own).map(drop)
}

/// Releases a word that nobody waits for; otherwise returns what the word holds.
#[inline(always)]
pub(super) fn try_give_up<W: Word32>(word: &W, own: u32) -> Result<(), u32> {
    word.exchange(own, 0).map(drop)
}

/// Takes the word, waiting as long as `patience` allows. `spin` may wait until the word has no owner, once.
pub(super) fn take<W: Word32>(
    word: &W,
    own: u32,
    rules: Rules,
    patience: Patience,
    spin: impl Fn(),
) -> Result<Acquired, AcquireError> {
    let mut has_spun = false;
    // If unlockers forget the other waiters, a thread that has slept assumes that there are some.
    let mut kept = 0;
    loop {
        let found = word.load(Ordering::Relaxed);
        if found & OWNER == 0 {
            if word.exchange(found, own | found & WAITERS | kept).is_ok() {
                crash::point();
                let died = found & OWNER_DIED != 0;
                return Ok(if died { Acquired::OwnerDied } else { Acquired::Clean });
            }
            continue;
        }
        let Patience::Until(deadline) = patience else {
            return Err(AcquireError::WouldBlock);
        };
        if !has_spun {
            has_spun = true;
            spin();
            continue;
        }
        if deadline.has_passed() {
            // The current owner of the word also has its bit: that owner will wake the next sleeper.
            return Err(AcquireError::TimedOut);
        }
        let asleep = (found | WAITERS) & !ASKING;
        if found != asleep && word.exchange(found, asleep).is_err() {
            continue;
        }
        crash::point();
        word.sleep(asleep, rules.slice, deadline);
        crash::point();
        if rules.forgets {
            kept = WAITERS;
        }
    }
}

/// Releases a word that others may wait for.
#[cold]
pub(super) fn give_up<W: Word32>(word: &W, own: u32, rules: Rules) {
    // Overwrites whatever sleepers have done to it meanwhile.
    word.swap(if rules.forgets { 0 } else { WAITERS });
    crash::point();
    let woken = word.wake(1);
    crash::point();
    if woken == 0 && !rules.forgets {
        ask_for_sleepers(word, own);
    }
}

/// Takes `WAITERS` out of a free word if nobody sleeps.
pub(super) fn ask_for_sleepers<W: Word32>(word: &W, own: u32) {
    let asking = own | WAITERS | ASKING;
    if word.exchange(WAITERS, asking).is_err() {
        // Another thread took it, and will ask.
        return;
    }
    crash::point();
    let woken = word.wake(1);
    crash::point();
    if woken == 0 && word.exchange(asking, 0).is_ok() {
        crash::point();
        return;
    }
    // Some thread sleeps, or was woken while the word was taken and sleeps again.
    word.swap(WAITERS);
    crash::point();
    word.wake(1);
    crash::point();
}

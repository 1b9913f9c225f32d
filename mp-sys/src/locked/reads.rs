//! What the calling thread reads, so that it never waits for itself.
//!
//! The list is thread-local without a destructor, like that of held locks. A forgotten guard stays in it, just as its
//! registration stays. After a fork the list describes the parent, so it starts afresh.
//!
//! # A thread must not end while it reads
//! Safe code can leak a guard, and send the `&'static T` that it lends to another thread. The thread that leaked it
//! refuses to fork. Once that thread has ended, nothing would refuse, and a child could use the reference although
//! nothing keeps writers out. So the process aborts when the thread ends, as it does for held locks. (A guard inside
//! another thread-local counts as leaked, unless that thread-local was first used after the thread took its first
//! guard.)

use std::cell::Cell;

use crate::locked::ReadError;
use crate::robust::{AcquireError, Generation};

/// The most guards of readers that one thread may hold at the same time.
pub const READS_MAX: usize = 64;

struct Reads {
    /// The generation of the entries.
    generation: Cell<u32>,
    count: Cell<usize>,
    addresses: [Cell<usize>; READS_MAX],
}

thread_local! {
    static READS: Reads = const {
        Reads {
            generation: Cell::new(0),
            count: Cell::new(0),
            addresses: [const { Cell::new(0) }; READS_MAX],
        }
    };
}

/// Checks the list when the thread ends.
struct AtEnd;

impl Drop for AtEnd {
    fn drop(&mut self) {
        if READS.with(|reads| !reads.live().is_empty()) {
            tracing::error!(
                "a thread ended while it read under a lock (a guard was forgotten); aborting the process"
            );
            std::process::abort();
        }
    }
}

thread_local! {
    static AT_END: AtEnd = const { AtEnd };
}

impl Reads {
    #[inline]
    fn live(&self) -> &[Cell<usize>] {
        let now = Generation::current().0;
        if self.generation.replace(now) != now {
            self.count.set(0);
        }
        self.addresses.get(..self.count.get()).unwrap_or_default()
    }
}

/// A place in the thread's list. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct Listed {
    address: usize,
    /// Whether the thread already reads under the same lock.
    pub(super) again: bool,
}

/// Puts a lock on the thread's list.
#[inline]
pub(super) fn list(address: usize) -> Result<Listed, ReadError> {
    READS.with(|reads| {
        let live = reads.live();
        if live.is_empty() {
            // The access fails only while the thread ends.
            AT_END.try_with(|_| ()).map_err(|_| AcquireError::Unwatched(0))?;
        }
        let again = live.iter().any(|listed| listed.get() == address);
        let place = reads.addresses.get(live.len()).ok_or(ReadError::TooManyReaders)?;
        place.set(address);
        reads.count.set(live.len().wrapping_add(1));
        Ok(Listed { address, again })
    })
}

/// Whether the thread reads under this lock.
#[inline]
pub(super) fn has(address: usize) -> bool {
    READS.with(|reads| reads.live().iter().any(|listed| listed.get() == address))
}

impl Drop for Listed {
    #[inline]
    fn drop(&mut self) {
        READS.with(|reads| {
            let live = reads.live();
            let Some((last, _)) = live.split_last() else { return };
            // The order has no meaning: the last entry moves into the free place.
            if let Some(mine) = live.iter().rfind(|listed| listed.get() == self.address) {
                mine.set(last.get());
                reads.count.set(live.len().wrapping_sub(1));
            }
        });
    }
}

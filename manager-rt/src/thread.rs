//! The number of a thread, for what belongs to threads: locks.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// The newest number that a thread got.
static NEWEST: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static OWN: Cell<u64> = const { Cell::new(0) };
}

/// The number of the calling thread: never 0, and never that of another thread of this process, not even of one that ended.
///
/// The system's numbers are used again, and a thread that got one would own the locks of another.
pub(crate) fn number() -> u64 {
    OWN.with(|own| {
        if own.get() == 0 {
            own.set(NEWEST.fetch_add(1, Ordering::Relaxed).wrapping_add(1));
        }
        own.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_has_another_number_and_keeps_it() {
        let own = number();
        let others: Vec<u64> =
            std::thread::scope(|scope| [(); 2].map(|()| scope.spawn(number).join().unwrap()).into());
        assert_eq!(number(), own);
        assert!(own != others[0] && own != others[1] && others[0] != others[1]);
    }
}

//! Which places of shared memory this thread accessed, and in which sizes. It does not see assembly; the caller
//! accounts for that.

use std::cell::RefCell;

thread_local! {
    static ACCESSES: RefCell<Vec<(usize, usize)>> = const { RefCell::new(Vec::new()) };
}

/// Records an access to shared memory.
pub(super) fn note(place: *const u8, size: usize) {
    ACCESSES.with_borrow_mut(|accesses| accesses.push((place.addr(), size)));
}

/// Runs `body`, and returns the sizes of its accesses, each size once and in order.
pub(crate) fn sizes(body: impl FnOnce()) -> Vec<usize> {
    drop(ACCESSES.take());
    body();
    let mut sizes: Vec<usize> = ACCESSES.take().into_iter().map(|(_, size)| size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// Runs `body`, and returns how many bytes it accessed, and checks that every access was aligned.
pub(super) fn bytes(body: impl FnOnce()) -> usize {
    drop(ACCESSES.take());
    body();
    ACCESSES
        .take()
        .into_iter()
        .map(|(place, size)| {
            assert!(place.is_multiple_of(size), "an access of {size} bytes at {place:#x}");
            size
        })
        .sum()
}

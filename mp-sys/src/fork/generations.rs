//! State of one object, of which every process has its own instance.
//!
//! It works as [`PerProcess`](super::PerProcess) does, for an object that ends, such as a proxy's connection. There is
//! no lock around the state, and a child never waits for anything that its parent's other threads were doing at the
//! moment of the fork. The child makes its own state, and may look at its parent's for that.

use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::Epoch;

/// State that each process makes for itself, at its first use there.
///
/// | property | |
/// |---|---|
/// | in a forked child | a new state; the child never changes the parent's state and never drops it: its memory is lost |
/// | drop | drops the state of the process that drops it |
pub struct Generations<T> {
    /// Null until the first use; published once by each process.
    current: AtomicPtr<Generation<T>>,
    _owned: PhantomData<T>,
}

struct Generation<T> {
    epoch: Epoch,
    state: T,
}

impl<T: Send + Sync> Generations<T> {
    /// Makes a value without a state.
    #[must_use]
    pub const fn new() -> Self {
        Self { current: AtomicPtr::new(ptr::null_mut()), _owned: PhantomData }
    }

    /// Returns this process's state. `make` makes it at the first use, and receives the state that the parent had at
    /// the fork, if it had one. For that state, all other threads that use it have stopped for ever: `make` may try a
    /// lock in it, but must not wait for one.
    #[inline]
    pub fn get(&self, make: impl FnOnce(Option<&T>) -> T) -> &T {
        let current = self.current.load(Ordering::Acquire);
        if !current.is_null() {
            // SAFETY: a non-null pointer comes from `Box::into_raw` in `renew`, and what was published is freed by `drop` only.
            let generation = unsafe { &*current };
            if generation.epoch.is_current() {
                return &generation.state;
            }
        }
        self.renew(current, make)
    }

    /// This process's state, if it has been used here.
    #[must_use]
    pub fn existing(&self) -> Option<&T> {
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: as in `get`.
        let generation = unsafe { current.as_ref() };
        generation.filter(|generation| generation.epoch.is_current()).map(|generation| &generation.state)
    }

    #[cold]
    fn renew(&self, stale: *mut Generation<T>, make: impl FnOnce(Option<&T>) -> T) -> &T {
        let epoch = Epoch::current();
        // SAFETY: as in `get`.
        let parents = unsafe { stale.as_ref() };
        let state = make(parents.map(|generation| &generation.state));
        let fresh = Box::into_raw(Box::new(Generation { epoch, state }));
        match self.current.compare_exchange(stale, fresh, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: `fresh` was made above, and is published now.
            Ok(_) => unsafe { &(*fresh).state },
            Err(other) => {
                // SAFETY: `fresh` came from `Box::into_raw` above and was not published.
                drop(unsafe { Box::from_raw(fresh) });
                // SAFETY: another thread of this process published it; as in `get`.
                unsafe { &(*other).state }
            }
        }
    }
}

impl<T: Send + Sync> Default for Generations<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for Generations<T> {
    fn drop(&mut self) {
        let current = *self.current.get_mut();
        // SAFETY: as in `get`; nobody else has this object any more.
        let is_own = unsafe { current.as_ref() }.is_some_and(|generation| generation.epoch.is_current());
        if is_own {
            // SAFETY: it came from `Box::into_raw`, this process published it, and `&mut self` shows that no reference
            // is left.
            drop(unsafe { Box::from_raw(current) });
        }
    }
}

impl<T> fmt::Debug for Generations<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generations").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn it_is_made_once_and_dropped_with_its_owner() {
        let witness = Arc::new(());
        let generations = Generations::new();
        assert!(generations.existing().is_none());
        let make = |parents: Option<&Arc<()>>| {
            assert!(parents.is_none(), "nobody forked");
            witness.clone()
        };
        let first = generations.get(make);
        assert!(ptr::eq(first, generations.get(make)));
        assert!(generations.existing().is_some_and(|state| ptr::eq(first, state)));
        assert_eq!(Arc::strong_count(&witness), 2);
        drop(generations);
        assert_eq!(Arc::strong_count(&witness), 1);
    }
}

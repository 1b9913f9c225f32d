//! `Guard`: data that a held lock protects, lent in place.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::locked::Held;

/// A held lock that lends its data in place. Dropping it releases the lock.
#[derive(Debug)]
pub struct Guard<'a, T: ?Sized> {
    pub(super) data: NonNull<T>,
    pub(super) held: Held<'a>,
}

impl<T: ?Sized> Guard<'_, T> {
    /// Whether the calling thread really holds the lock: not so for a guard that a forked child inherited.
    #[inline]
    #[must_use]
    pub fn is_held_here(&self) -> bool {
        self.held.is_held_here()
    }
}

impl<T: ?Sized> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: made by `Held::into_guard`: valid, aligned, in memory that stays mapped, and under the held lock.
        unsafe { self.data.as_ref() }
    }
}

impl<T: ?Sized> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `self` is exclusive.
        unsafe { self.data.as_mut() }
    }
}

// SAFETY: sharing a guard shares `&T` only, and `Element` types are Sync.
unsafe impl<T: ?Sized + Sync> Sync for Guard<'_, T> {}

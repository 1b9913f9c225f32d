//! The guards that a [`Condition`](crate::Condition) can release and take again.

use crate::array::{Array, ArrayGuard};
use crate::element::Element;
use crate::error::LockResult;
use crate::sync::lock::{Lock, LockGuard};
use crate::sync::rlock::{RLock, RLockGuard};
use crate::value::{Value, ValueGuard};

/// A guard whose lock a [`Condition`](crate::Condition) can release and take again: that of a [`Lock`], [`RLock`], [`Value`]
/// or [`Array`]. An `RLock` is released however many guards the thread has, and taken again just as often.
#[diagnostic::on_unimplemented(
    message = "a condition cannot wait with `{Self}`",
    note = "pass the guard that `lock` returned, without its `Result`: a condition releases the lock and takes it again"
)]
pub trait WaitGuard: Sized + sealed::Sealed {
    /// The object that has the lock.
    type Owner;
    /// The data that the guard lends: `()` for a [`Lock`] or [`RLock`].
    type Lent: ?Sized;

    /// Lends the data that the lock protects.
    fn lend<R>(&mut self, look: impl FnOnce(&mut Self::Lent) -> R) -> R;

    /// Releases the lock.
    fn release(self) -> Self::Owner;

    /// Takes the lock again.
    ///
    /// # Errors
    /// The same as `lock` of the owner.
    fn take_again(owner: Self::Owner) -> LockResult<Self>;
}

mod sealed {
    #[expect(unnameable_types, reason = "the trait is sealed because other crates cannot name this one")]
    pub trait Sealed {}
}

impl sealed::Sealed for LockGuard<'_> {}

impl<'a> WaitGuard for LockGuard<'a> {
    type Owner = &'a Lock;
    type Lent = ();

    fn lend<R>(&mut self, look: impl FnOnce(&mut ()) -> R) -> R {
        look(&mut ())
    }

    fn release(self) -> &'a Lock {
        self.owner()
    }

    fn take_again(owner: &'a Lock) -> LockResult<Self> {
        owner.lock()
    }
}

impl sealed::Sealed for RLockGuard<'_> {}

impl<'a> WaitGuard for RLockGuard<'a> {
    /// The lock, and how many guards the thread has.
    type Owner = (&'a RLock, u64);
    type Lent = ();

    fn lend<R>(&mut self, look: impl FnOnce(&mut ()) -> R) -> R {
        look(&mut ())
    }

    fn release(self) -> Self::Owner {
        self.release_all()
    }

    fn take_again((lock, depth): Self::Owner) -> LockResult<Self> {
        lock.lock_again(depth)
    }
}

impl<T: Element> sealed::Sealed for ValueGuard<'_, T> {}

impl<'a, T: Element> WaitGuard for ValueGuard<'a, T> {
    type Owner = &'a Value<T>;
    type Lent = T;

    fn lend<R>(&mut self, look: impl FnOnce(&mut T) -> R) -> R {
        look(self)
    }

    fn release(self) -> &'a Value<T> {
        self.owner()
    }

    fn take_again(owner: &'a Value<T>) -> LockResult<Self> {
        owner.lock()
    }
}

impl<T: Element> sealed::Sealed for ArrayGuard<'_, T> {}

impl<'a, T: Element> WaitGuard for ArrayGuard<'a, T> {
    type Owner = &'a Array<T>;
    type Lent = [T];

    fn lend<R>(&mut self, look: impl FnOnce(&mut [T]) -> R) -> R {
        look(self)
    }

    fn release(self) -> &'a Array<T> {
        self.owner()
    }

    fn take_again(owner: &'a Array<T>) -> LockResult<Self> {
        owner.lock()
    }
}

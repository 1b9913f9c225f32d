//! Which guards a [`Condition`](crate::Condition) can release and take again.

use crate::array::{Array, ArrayGuard};
use crate::element::Element;
use crate::error::LockResult;
use crate::sync::lock::{Lock, LockGuard};
use crate::value::{Value, ValueGuard};

/// A guard whose lock a [`Condition`](crate::Condition) can release and take again: that of a [`Lock`], [`Value`] or
/// [`Array`]. Not that of an `RLock`, which may be held several times.
pub trait WaitGuard: Sized + sealed::Sealed {
    /// What has the lock.
    type Owner;

    /// Releases the lock.
    fn release(self) -> Self::Owner;

    /// Takes the lock again.
    ///
    /// # Errors
    /// As `lock` of the owner.
    fn take_again(owner: Self::Owner) -> LockResult<Self>;
}

mod sealed {
    #[expect(unnameable_types, reason = "that nobody can name it is what seals the trait")]
    pub trait Sealed {}
}

impl sealed::Sealed for LockGuard<'_> {}

impl<'a> WaitGuard for LockGuard<'a> {
    type Owner = &'a Lock;

    fn release(self) -> &'a Lock {
        self.owner()
    }

    fn take_again(owner: &'a Lock) -> LockResult<Self> {
        owner.lock()
    }
}

impl<T: Element> sealed::Sealed for ValueGuard<'_, T> {}

impl<'a, T: Element> WaitGuard for ValueGuard<'a, T> {
    type Owner = &'a Value<T>;

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

    fn release(self) -> &'a Array<T> {
        self.owner()
    }

    fn take_again(owner: &'a Array<T>) -> LockResult<Self> {
        owner.lock()
    }
}

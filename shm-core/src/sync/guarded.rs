//! The objects whose data an async task checks while it waits at a [`Condition`](crate::Condition).

use mp_sys::locked::Holder;

use crate::array::Array;
use crate::element::Element;
use crate::error::LockError;
use crate::sync::lock::Lock;
use crate::sync::rlock::RLock;
use crate::value::Value;

/// An object with a lock that [`Condition::wait_until_async`](crate::Condition::wait_until_async) takes for a moment at a
/// time: a [`Lock`], [`RLock`], [`Value`] or [`Array`]. No guard of it lives across an `.await`.
#[diagnostic::on_unimplemented(
    message = "a condition cannot take the lock of `{Self}`",
    note = "pass a reference to the `Lock`, `RLock`, `Value` or `Array` itself, not to a guard"
)]
pub trait Guarded: sealed::Sealed {
    /// The data that the lock protects: `()` for a [`Lock`] or [`RLock`].
    type Lent: ?Sized;

    /// Runs `section` while it holds the lock, if the lock is free. It never waits.
    ///
    /// # Errors
    /// The same as `try_lock`: above all [`LockError::WouldBlock`]. `section` has not run then.
    fn try_lend<R>(&self, section: impl FnOnce(&mut Self::Lent) -> R) -> Result<R, LockError<()>>;
}

mod sealed {
    #[expect(unnameable_types, reason = "the trait is sealed because other crates cannot name this one")]
    pub trait Sealed {}
}

impl sealed::Sealed for Lock {}

impl Guarded for Lock {
    type Lent = ();

    fn try_lend<R>(&self, section: impl FnOnce(&mut ()) -> R) -> Result<R, LockError<()>> {
        let _guard = self.try_lock().map_err(LockError::discard)?;
        Ok(section(&mut ()))
    }
}

impl sealed::Sealed for RLock {}

impl Guarded for RLock {
    type Lent = ();

    /// If the calling thread holds the lock, it does so in another task, which must not lose it.
    fn try_lend<R>(&self, section: impl FnOnce(&mut ()) -> R) -> Result<R, LockError<()>> {
        if self.holder() == Holder::ThisThread {
            return Err(LockError::WouldBlock);
        }
        let _guard = self.try_lock().map_err(LockError::discard)?;
        Ok(section(&mut ()))
    }
}

impl<T: Element> sealed::Sealed for Value<T> {}

impl<T: Element> Guarded for Value<T> {
    type Lent = T;

    fn try_lend<R>(&self, section: impl FnOnce(&mut T) -> R) -> Result<R, LockError<()>> {
        let mut guard = self.try_lock().map_err(LockError::discard)?;
        Ok(section(&mut guard))
    }
}

impl<T: Element> sealed::Sealed for Array<T> {}

impl<T: Element> Guarded for Array<T> {
    type Lent = [T];

    fn try_lend<R>(&self, section: impl FnOnce(&mut [T]) -> R) -> Result<R, LockError<()>> {
        let mut guard = self.try_lock().map_err(LockError::discard)?;
        Ok(section(&mut guard))
    }
}

//! A descriptor that is registered with one runtime of this process.

use std::mem::ManuallyDrop;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::RuntimeError;
use crate::OsError;
use crate::descriptors::duplicate;
use crate::fork::Epoch;

/// A duplicate of a descriptor, in the event loop of a runtime.
///
/// It is a duplicate, since the loop refuses the same number twice, and a number that is closed before it is removed from the
/// loop could mean another file by then.
#[derive(Debug)]
pub(super) struct Registered {
    /// Dropped only in the process of `epoch`, because the loop belongs to that process.
    file: ManuallyDrop<AsyncFd<OwnedFd>>,
    interest: Interest,
    epoch: Epoch,
}

impl Registered {
    /// Registers a duplicate of `file` with the runtime of the caller. The caller knows that this runtime belongs to this
    /// process.
    pub(super) fn of(file: BorrowedFd<'_>, interest: Interest) -> Result<Self, RuntimeError> {
        let file = duplicate(file).map_err(|errno| RuntimeError::System(OsError::from(errno)))?;
        let register = || {
            // SAFETY: `file` owns an open descriptor that was made above, and moves into the `AsyncFd`. Nothing takes it out
            // or closes it before the `AsyncFd` is dropped, and an `OwnedFd` always returns the same number.
            unsafe { AsyncFd::register_with_interest(file, interest) }
        };
        // It panics if the runtime has no I/O driver, before it has changed anything.
        let file = catch_unwind(AssertUnwindSafe(register)).map_err(|_panic| RuntimeError::NoIo)?;
        let file = file.map_err(|error| RuntimeError::from(error.into_parts().1))?;
        Ok(Self { file: ManuallyDrop::new(file), interest, epoch: Epoch::current() })
    }

    /// Returns whether the descriptor is ready, and clears that. Otherwise the task is woken once it is. Only the task that
    /// polled last is.
    pub(super) fn poll_news(&self, context: &mut Context<'_>) -> Poll<Result<(), RuntimeError>> {
        let is_write = self.interest == Interest::WRITABLE;
        let ready =
            if is_write { self.file.poll_write_ready(context) } else { self.file.poll_read_ready(context) };
        ready.map(|ready| {
            ready?.clear_ready();
            Ok(())
        })
    }

    /// Waits until the descriptor is ready, and clears that.
    pub(super) async fn news(&self) -> Result<(), RuntimeError> {
        self.file.ready(self.interest).await?.clear_ready();
        Ok(())
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if self.epoch.is_current() {
            // SAFETY: a drop happens once, and nothing uses `file` afterwards.
            unsafe { ManuallyDrop::drop(&mut self.file) };
        }
    }
}

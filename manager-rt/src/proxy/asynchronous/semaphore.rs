//! The async forms of [`Semaphore`]'s methods.

use crate::count::count_of;
use crate::error::{ObjectError, SemaphoreError};
use crate::proto::{Op, SemaphoreOp, Wait};
use crate::proxy::lock::Granted;
use crate::proxy::{BoundedSemaphore, Handle, Permit, Proxy, Semaphore, read};

macro_rules! permits {
    ($name:ident) => {
        impl $name {
            /// As [`acquire`](Self::acquire), in a task of a tokio runtime. If the future is dropped before it is
            /// ready, it takes no permit.
            /// Dropping the [`Permit`] does not wait for the server.
            ///
            /// # Errors
            /// [`SemaphoreError::Object`].
            pub fn acquire_async(&self) -> impl Future<Output = Result<Permit<'_>, SemaphoreError>> + Send {
                acquire(self.handle(), Wait::Forever)
            }

            /// As [`try_acquire`](Self::try_acquire), in a task of a tokio runtime. If the future is dropped before it is
            /// ready, it takes no permit.
            ///
            /// # Errors
            /// [`SemaphoreError::WouldBlock`]; [`SemaphoreError::Object`].
            pub fn try_acquire_async(
                &self,
            ) -> impl Future<Output = Result<Permit<'_>, SemaphoreError>> + Send {
                acquire(self.handle(), Wait::No)
            }

            /// As [`add_permits`](Self::add_permits), in a task of a tokio runtime.
            ///
            /// # Errors
            /// [`SemaphoreError::OverRelease`], and none was added; [`SemaphoreError::Object`].
            pub fn add_permits_async(
                &self,
                count: usize,
            ) -> impl Future<Output = Result<(), SemaphoreError>> + Send {
                let op = Op::Semaphore(SemaphoreOp::Add(count_of(count)));
                self.handle().ask_async(op, read::done)
            }

            /// As [`available`](Self::available), in a task of a tokio runtime.
            ///
            /// # Errors
            /// [`ObjectError`].
            pub fn available_async(&self) -> impl Future<Output = Result<usize, ObjectError>> + Send {
                self.handle().ask_async(Op::Semaphore(SemaphoreOp::Available), read::count)
            }
        }
    };
}

permits!(Semaphore);
permits!(BoundedSemaphore);

fn acquire(handle: &Handle, wait: Wait) -> impl Future<Output = Result<Permit<'_>, SemaphoreError>> + Send {
    let pending = handle.call_async(Op::Semaphore(SemaphoreOp::Take), wait);
    async move {
        let granted = Granted::of(&pending.await?)?;
        Ok(Permit::of_task(handle, granted.token))
    }
}

//! The methods of every object for its name.

use super::NameError;
use crate::element::Element;
use crate::travel::Travels;
use crate::{
    Array, Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, RawArray, RawValue, RwLock, Semaphore,
    SharedMemory, Value,
};

macro_rules! handles {
    ($($type:ident $(<$param:ident: $bound:ident>)?;)*) => {$(
        /// Its [name](crate::named).
        impl$(<$param: $bound>)? $type$(<$param>)? {
            /// Returns the name, if the object has one. An object that arrived in a message has the name that it was created
            /// with.
            #[must_use]
            pub fn name(&self) -> Option<&str> {
                self.parts().segment.map(|segment| segment.name())
            }

            /// Keeps the name after the last process has dropped the object, until [`unlink`](Self::unlink) or a restart of
            /// the machine. The contents and the memory of the object stay as well.
            ///
            /// This is a single store: a process that is killed here has done it completely or not at all.
            ///
            /// # Errors
            /// [`NameError::Unnamed`] if the object was created without a name; [`NameError::NotFound`] if the name was
            /// removed.
            pub fn persist(&self) -> Result<(), NameError> {
                self.parts().segment.ok_or(NameError::Unnamed)?.persist()
            }

            /// Removes the name. Processes that have the object keep it. Nobody can open it any more, and the name is free.
            /// To remove the name of an object that this process has not opened, use [`named::unlink`](crate::named::unlink).
            ///
            /// # Errors
            /// [`NameError::Unnamed`] if the object was created without a name; [`NameError::NotFound`] if the name was
            /// removed before, even if another object has it by now; [`NameError::PermissionDenied`].
            pub fn unlink(&self) -> Result<(), NameError> {
                self.parts().segment.ok_or(NameError::Unnamed)?.unlink()
            }
        }
    )*};
}

handles! {
    Value<T: Element>;
    Array<T: Element>;
    RawValue<T: Element>;
    RawArray<T: Element>;
    SharedMemory;
    RwLock<T: Element>;
    Lock;
    RLock;
    Semaphore;
    BoundedSemaphore;
    Event;
    Condition;
    Barrier;
}

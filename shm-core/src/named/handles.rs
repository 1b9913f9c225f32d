//! What every object can do with its name.

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
            /// The name, if it has one. An object that arrived in a message has the name that it was made with.
            #[must_use]
            pub fn name(&self) -> Option<&str> {
                self.parts().segment.map(|segment| segment.name())
            }

            /// Keeps the name when nobody holds the object any more, until [`unlink`](Self::unlink) or the end of the
            /// machine's session. What the object holds stays as well, and its memory with it.
            ///
            /// It is a single store: a process that is killed here has done it, or not.
            ///
            /// # Errors
            /// [`NameError::Unnamed`] for an object that was made without a name; [`NameError::NotFound`] if the name was
            /// removed.
            pub fn persist(&self) -> Result<(), NameError> {
                self.parts().segment.ok_or(NameError::Unnamed)?.persist()
            }

            /// Removes the name. Whoever has the object keeps it; nobody can open it any more, and the name is free. To
            /// remove the name of an object that nobody has, use [`named::unlink`](crate::named::unlink).
            ///
            /// # Errors
            /// [`NameError::Unnamed`] for an object that was made without a name; [`NameError::NotFound`] if the name was
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

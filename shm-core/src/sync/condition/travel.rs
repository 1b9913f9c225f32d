//! Further handles of a condition, by `clone` and in a message.

use mp_sys::cells::Waiters;
use mp_sys::named::{ExistingSpan, What};

use crate::named::{self, NameError};
use crate::sync::condition::{Condition, KIND, WAITERS_MAX};
use crate::travel::{Parts, Travels, travels};

impl Travels for Condition {
    type Object = Waiters;

    fn what() -> What {
        named::of::<()>(KIND)
    }

    fn parts(&self) -> Parts<'_, Waiters> {
        Parts { object: &self.waiters, count: WAITERS_MAX, segment: self.segment.as_ref() }
    }

    fn arrive(object: ExistingSpan<Waiters>, places: usize) -> Option<Self> {
        // All conditions have the same number of places: a process that saw fewer would miss the waiters at the others.
        let waiters = (places == WAITERS_MAX).then(|| Waiters::attach(object, places).ok())??;
        Some(Self::over(waiters, None))
    }

    fn open_named(name: &str) -> Result<Self, NameError> {
        Self::open(name)
    }
}

travels!(Condition);

impl Clone for Condition {
    fn clone(&self) -> Self {
        Self::over(self.waiters.clone(), self.segment.clone())
    }
}

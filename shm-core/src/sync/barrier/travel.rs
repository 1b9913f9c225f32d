//! A barrier inside a message.

use mp_sys::locked::SignalledLock;
use mp_sys::named::{ExistingSpan, What};

use crate::named::{self, NameError};
use crate::sync::barrier::{Barrier, KIND, attach};
use crate::travel::{Parts, Travels, travels};

impl Travels for Barrier {
    type Object = SignalledLock;

    fn what() -> What {
        named::of::<()>(KIND)
    }

    fn parts(&self) -> Parts<'_, SignalledLock> {
        let shared = &self.shared;
        Parts { object: &shared.lock, count: shared.parties, segment: self.segment.as_ref() }
    }

    fn arrive(object: ExistingSpan<SignalledLock>, parties: usize) -> Option<Self> {
        Some(Self::over(attach(parties, object)?, parties, None))
    }

    fn open_named(name: &str) -> Result<Self, NameError> {
        Self::open(name)
    }
}

travels!(Barrier);

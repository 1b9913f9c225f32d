//! An array inside a message.

use std::marker::PhantomData;

use mp_sys::locked::Locked;
use mp_sys::named::{ExistingSpan, What};

use crate::array::Array;
use crate::element::Element;
use crate::kind;
use crate::named::{self, NameError};
use crate::protected::Protected;
use crate::travel::{Parts, Travels, travels};

impl<T: Element> Travels for Array<T> {
    type Object = Locked;

    fn what() -> What {
        named::of::<T>(kind::ARRAY)
    }

    fn parts(&self) -> Parts<'_, Locked> {
        Parts { object: self.protected.locked(), count: self.len, segment: self.segment.as_ref() }
    }

    fn arrive(object: ExistingSpan<Locked>, count: usize) -> Option<Self> {
        let locked = Locked::attach(object).ok()?;
        let protected = Protected::arrived(locked, Self::data_bytes(count)?, Self::redo)?;
        Some(Self { protected, len: count, elements: PhantomData, segment: None })
    }

    fn open_named(name: &str) -> Result<Self, NameError> {
        Self::open(name)
    }
}

travels!(Array<T: Element>);

//! Further handles of the same cells.

use std::marker::PhantomData;

use crate::cells::{SharedCell, SharedSlice};

impl<T> Clone for SharedSlice<T> {
    /// Makes another handle of the same elements.
    fn clone(&self) -> Self {
        Self { start: self.start, len: self.len, span: self.span.twin(), elements: PhantomData }
    }
}

impl<T> Clone for SharedCell<T> {
    /// Makes another handle of the same value.
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

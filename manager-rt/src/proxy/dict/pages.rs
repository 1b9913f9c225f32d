//! Reading many entries of a dict at once, and iteration.

use std::collections::VecDeque;
use std::fmt;

use serde::de::DeserializeOwned;

use crate::error::ObjectError;
use crate::proto::{DictOp, Op, Part};
use crate::proxy::dict::Dict;
use crate::proxy::read;

impl<K, V> Dict<K, V> {
    fn page<R>(
        &self,
        after: Option<u64>,
        part: Part,
        read: crate::proxy::handle::Read<(Vec<R>, u64)>,
    ) -> Result<(Vec<R>, u64), ObjectError> {
        self.handle.ask(Op::Dict(DictOp::Page { after, max: u64::MAX, part }), read)
    }

    fn all<R>(
        &self,
        part: Part,
        read: crate::proxy::handle::Read<(Vec<R>, u64)>,
    ) -> Result<Vec<R>, ObjectError> {
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let (page, place) = self.page(after, part, read)?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
            after = Some(place);
        }
    }
}

impl<K: DeserializeOwned, V> Dict<K, V> {
    /// Returns the keys in insertion order, requested page by page (see [`iter`](Self::iter)).
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn keys(&self) -> Result<Vec<K>, ObjectError> {
        self.all(Part::Keys, read::page)
    }
}

impl<K, V: DeserializeOwned> Dict<K, V> {
    /// Returns the values in insertion order, requested page by page (see [`iter`](Self::iter)).
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn values(&self) -> Result<Vec<V>, ObjectError> {
        self.all(Part::Values, read::page)
    }
}

impl<K: DeserializeOwned, V: DeserializeOwned> Dict<K, V> {
    /// Returns the entries in insertion order, requested page by page (see [`iter`](Self::iter)).
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn items(&self) -> Result<Vec<(K, V)>, ObjectError> {
        self.all(Part::Items, read::entries)
    }

    /// Iterates over the entries, requested page by page.
    ///
    /// An entry that exists from the first page to the last is returned exactly once, whatever else changes. An entry
    /// that is added or removed during the iteration may or may not be returned. Each value is as it was when its page
    /// was read.
    pub fn iter(&self) -> DictIter<'_, K, V> {
        DictIter { dict: self, page: VecDeque::new(), after: None, is_over: false }
    }
}

/// An iterator over a dict: see [`Dict::iter`].
pub struct DictIter<'a, K, V> {
    dict: &'a Dict<K, V>,
    page: VecDeque<(K, V)>,
    after: Option<u64>,
    is_over: bool,
}

impl<K: DeserializeOwned, V: DeserializeOwned> Iterator for DictIter<'_, K, V> {
    type Item = Result<(K, V), ObjectError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty() && !self.is_over {
            match self.dict.page(self.after, Part::Items, read::entries) {
                Ok((page, place)) => {
                    self.after = Some(place);
                    self.is_over = page.is_empty();
                    self.page = page.into();
                }
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            }
        }
        self.page.pop_front().map(Ok)
    }
}

impl<K, V> fmt::Debug for DictIter<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DictIter({:?}{})", self.dict, if self.is_over { ", over" } else { "" })
    }
}

//! Reading many items of a list at once, and iteration.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

use serde::de::DeserializeOwned;

use crate::backend::CallError;
use crate::count::{count_of, index_of};
use crate::error::ObjectError;
use crate::limits::ORDER_ITEMS_AT_ONCE;
use crate::proto::{ListOp, Op, Spec};
use crate::proxy::list::List;
use crate::proxy::{TRIES_MAX, make, read};

impl<T: DeserializeOwned> List<T> {
    /// Returns all items, as they are at one moment.
    ///
    /// # Errors
    /// [`ObjectError`]; [`ObjectError::Changing`] if the list is long and changed during every attempt to read it.
    #[doc(alias = "_getvalue")]
    pub fn to_vec(&self) -> Result<Vec<T>, ObjectError> {
        Ok(self.snapshot(0..usize::MAX)?.0)
    }

    /// Returns the items in a range, as they are at one moment. There are fewer if the list ends earlier.
    ///
    /// # Errors
    /// As for [`to_vec`](Self::to_vec).
    #[doc(alias = "slice")]
    pub fn range(&self, range: Range<usize>) -> Result<Vec<T>, ObjectError> {
        Ok(self.snapshot(range)?.0)
    }

    /// Returns the items in a range, and the number of changes so far.
    pub(super) fn snapshot(&self, range: Range<usize>) -> Result<(Vec<T>, u64), ObjectError> {
        for _ in 0..TRIES_MAX {
            if let Some(found) = self.try_snapshot(&range)? {
                return Ok(found);
            }
        }
        Err(ObjectError::Changing)
    }

    /// Returns `None` if the list changed between two pages.
    fn try_snapshot(&self, range: &Range<usize>) -> Result<Option<(Vec<T>, u64)>, ObjectError> {
        let mut items: Vec<T> = Vec::new();
        let mut first_version = None;
        loop {
            let at = range.start.saturating_add(items.len());
            let max = range.end.saturating_sub(at);
            let (page, version) = self.page(at, max)?;
            if first_version.replace(version).is_some_and(|first| first != version) {
                return Ok(None);
            }
            if page.is_empty() {
                return Ok(Some((items, version)));
            }
            items.extend(page);
            if items.len() >= range.len() {
                return Ok(Some((items, version)));
            }
        }
    }

    fn page(&self, at: usize, max: usize) -> Result<(Vec<T>, u64), ObjectError> {
        let op = ListOp::Page { at: count_of(at), max: count_of(max) };
        self.handle.ask(Op::List(op), read::page)
    }

    /// Iterates over the items, requested page by page.
    ///
    /// Each page shows the list as it is when the page is read. If the list changes during the iteration, items may
    /// appear twice or not at all. [`to_vec`](Self::to_vec) returns all items as they are at one moment.
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let list = mp::manager::Manager::in_process()?.list::<u32>()?;
    /// list.extend(&[1, 2, 3])?;
    /// let sum: u32 = list.iter().collect::<Result<Vec<_>, _>>()?.iter().sum();
    /// assert_eq!(sum, 6);
    /// # Ok(())
    /// # }
    /// ```
    pub fn iter(&self) -> ListIter<'_, T> {
        ListIter { list: self, page: VecDeque::new(), next: 0, is_over: false }
    }
}

impl<T: DeserializeOwned + Ord> List<T> {
    /// Sorts the items by their natural order, in this process. Equal items keep their order.
    ///
    /// # Errors
    /// As for [`sort_by`](Self::sort_by).
    pub fn sort(&self) -> Result<(), ObjectError> {
        self.sort_by(Ord::cmp)
    }
}

impl<T: DeserializeOwned> List<T> {
    /// Sorts the items with `compare`, in this process. Equal items keep their order. If the list changes meanwhile, it
    /// is sorted again.
    ///
    /// # Errors
    /// [`ObjectError`]; [`ObjectError::Changing`] if the list changed during every attempt;
    /// [`Fault::NoRoom`](crate::proto::Fault::NoRoom) for a list of more than
    /// [`ORDER_ITEMS_AT_ONCE`] items if the manager has no room for a second order.
    pub fn sort_by(&self, mut compare: impl FnMut(&T, &T) -> std::cmp::Ordering) -> Result<(), ObjectError> {
        for _ in 0..TRIES_MAX {
            let (items, version) = self.snapshot(0..usize::MAX)?;
            let mut numbered: Vec<_> = items.into_iter().enumerate().collect();
            numbered.sort_by(|(_, one), (_, other)| compare(one, other));
            let order: Vec<_> = numbered.into_iter().map(|(index, _)| count_of(index)).collect();
            let outcome = if order.len() <= ORDER_ITEMS_AT_ONCE {
                self.handle.ask(Op::List(ListOp::Reorder { version, order }), read::done)
            } else {
                match self.reorder_in_pieces(version, &order) {
                    // The server is too old for pieces, and does all of it in one step.
                    Err(ObjectError::Call(CallError::NeedsVersion { .. })) => {
                        self.handle.ask(Op::List(ListOp::Reorder { version, order }), read::done)
                    }
                    outcome => outcome,
                }
            };
            match outcome {
                Err(error) if read::has_changed(&error) => {}
                outcome => return outcome,
            }
        }
        Err(ObjectError::Changing)
    }

    /// Collects the items in another list, piece by piece, and then exchanges the contents of the two.
    fn reorder_in_pieces(&self, version: u64, order: &[u64]) -> Result<(), ObjectError> {
        let other: Self = make(self.handle.backend(), None, Spec::List)?;
        for order in order.chunks(ORDER_ITEMS_AT_ONCE) {
            let gather = ListOp::Gather { from: self.handle.id(), version, order: order.to_vec() };
            other.handle.ask(Op::List(gather), read::done)?;
        }
        let exchange = ListOp::Exchange { with: other.handle.id(), version };
        self.handle.ask(Op::List(exchange), read::done)
    }
}

/// An iterator over a list: see [`List::iter`].
pub struct ListIter<'a, T> {
    list: &'a List<T>,
    page: VecDeque<T>,
    next: usize,
    is_over: bool,
}

impl<T: DeserializeOwned> Iterator for ListIter<'_, T> {
    type Item = Result<T, ObjectError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty() && !self.is_over {
            match self.list.page(self.next, index_of(u64::MAX)) {
                Ok((page, _)) => {
                    self.next = self.next.saturating_add(page.len());
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

impl<T> fmt::Debug for ListIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.next.saturating_sub(self.page.len());
        write!(f, "ListIter({:?} at {at}{})", self.list, if self.is_over { ", over" } else { "" })
    }
}

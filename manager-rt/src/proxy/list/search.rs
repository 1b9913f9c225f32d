//! Searching a list for a value.
//!
//! The manager searches a limited number of items at once, and says where to continue. A long list is therefore
//! searched in pieces, from the beginning again if it changed between two pieces. So the result is that of one moment,
//! and no other client waits for the search.

use mp_sys::alike::{SameBytes, Wire};
use serde::Serialize;

use crate::backend::CallError;
use crate::count::index_of;
use crate::error::ObjectError;
use crate::proto::{Fault, ListOp, Op, Raw, Reply, Scan, Wait};
use crate::proxy::list::List;
use crate::proxy::{TRIES_MAX, read};

impl<T> List<T> {
    /// Returns the index of the first item that equals this one.
    ///
    /// # Errors
    /// [`ObjectError`]; [`ObjectError::Changing`] if the list is long and changed during every attempt to search it.
    #[doc(alias = "index")]
    pub fn index_of<Q>(&self, item: &Q) -> Result<Option<usize>, ObjectError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.search(item, |scan| Op::List(ListOp::IndexOf(scan)), |_, found| Some(found))
    }

    /// Returns `true` if an item equals this one.
    ///
    /// # Errors
    /// As for [`index_of`](Self::index_of).
    #[doc(alias = "__contains__")]
    pub fn contains<Q>(&self, item: &Q) -> Result<bool, ObjectError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        Ok(self.index_of(item)?.is_some())
    }

    /// Removes the first item that equals this one, and returns the index that it had, if there was one.
    ///
    /// # Errors
    /// As for [`index_of`](Self::index_of).
    pub fn remove_value<Q>(&self, item: &Q) -> Result<Option<usize>, ObjectError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.search(item, |scan| Op::List(ListOp::RemoveValue(scan)), |_, found| Some(found))
    }

    /// Returns how many items equal this one.
    ///
    /// # Errors
    /// As for [`index_of`](Self::index_of).
    pub fn count<Q>(&self, item: &Q) -> Result<usize, ObjectError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        let count = self.search(
            item,
            |scan| Op::List(ListOp::Count(scan)),
            |sum: &mut u64, found| {
                *sum = sum.saturating_add(found);
                None
            },
        )?;
        Ok(count.unwrap_or(0))
    }

    /// Searches the whole list. `found` receives the result of each piece, and may end the search. Otherwise the result
    /// is the sum.
    fn search<Q: Serialize + ?Sized>(
        &self,
        item: &Q,
        op: impl Fn(Scan<Raw<'_>>) -> Op<Raw<'_>>,
        mut found_in_piece: impl FnMut(&mut u64, u64) -> Option<u64>,
    ) -> Result<Option<usize>, ObjectError> {
        let mut values = self.handle.values();
        let number = values.add(item)?;
        'anew: for _ in 0..TRIES_MAX {
            let (mut from, mut version, mut sum, mut counts) = (0, None, 0, false);
            loop {
                let scan = Scan { value: values.raw(number), from, version };
                match self.handle.call(op(scan), Wait::No) {
                    Ok(Reply::Scanned { found, next, version: newest }) => {
                        if let Some(found) = found {
                            if let Some(result) = found_in_piece(&mut sum, found) {
                                return Ok(Some(index_of(result)));
                            }
                            counts = true;
                        }
                        let Some(next) = next else { return Ok(counts.then(|| index_of(sum))) };
                        (from, version) = (next, Some(newest));
                    }
                    Ok(other) => return read::unexpected(self.handle.backend(), &other),
                    Err(CallError::Fault(Fault::Changed)) => continue 'anew,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Err(ObjectError::Changing)
    }
}

//! Places for values that come in any order. When all are there, a vector is made of them without moving one.

use std::mem::{self, MaybeUninit};

use rustix::mm::{Advice, madvise};

/// Bits in a word.
const BITS: usize = u64::BITS as usize;
/// Memory of this size is requested from the kernel at once, and not page by page as it is written to,
const POPULATED_BYTES_MIN: usize = 256 << 10;
/// but not more, since values may take long to come.
const POPULATED_BYTES_MAX: usize = 64 << 20;

/// A fixed number of places for values.
#[derive(Debug)]
pub struct Places<T> {
    /// Its length is 0. The values lie in its capacity.
    values: Vec<T>,
    /// The number of places. The capacity is at least as large.
    len: usize,
    /// A bit for each place: whether there is a value.
    filled: Vec<u64>,
    /// The number of places without a value.
    empty: usize,
}

impl<T> Places<T> {
    /// Makes empty places.
    #[must_use]
    pub fn new(len: usize) -> Self {
        let mut values = Vec::with_capacity(len);
        populate(values.spare_capacity_mut());
        Self { values, len, filled: vec![0; len.div_ceil(BITS)], empty: len }
    }

    /// Returns the number of places.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are no places at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills a place.
    ///
    /// # Errors
    /// Returns the value if the place is filled, or does not exist.
    #[inline]
    pub fn put(&mut self, at: usize, value: T) -> Result<(), T> {
        if at >= self.len {
            return Err(value);
        }
        let (Some(bits), Some(place)) =
            (self.filled.get_mut(at / BITS), self.values.spare_capacity_mut().get_mut(at))
        else {
            return Err(value);
        };
        let bit = bit(at);
        if *bits & bit != 0 {
            return Err(value);
        }
        place.write(value);
        *bits |= bit;
        self.empty = self.empty.saturating_sub(1);
        Ok(())
    }

    /// Takes a value out.
    pub fn take(&mut self, at: usize) -> Option<T> {
        let place = self.emptied(at)?;
        // SAFETY: `emptied` returned the place of a value, and nothing else will read it: its bit is 0 now.
        Some(unsafe { place.assume_init_read() })
    }

    /// Marks a place as empty, and returns it if there was a value, which the caller takes.
    fn emptied(&mut self, at: usize) -> Option<&mut MaybeUninit<T>> {
        let bits = self.filled.get_mut(at / BITS)?;
        let bit = bit(at);
        if *bits & bit == 0 {
            return None;
        }
        *bits &= !bit;
        self.empty = self.empty.saturating_add(1);
        self.values.spare_capacity_mut().get_mut(at)
    }

    /// Returns the values in order if all places are filled, and otherwise the places.
    ///
    /// # Errors
    /// The places, of which at least one is empty.
    pub fn into_vec(mut self) -> Result<Vec<T>, Self> {
        if self.empty > 0 {
            return Err(self);
        }
        self.filled.clear();
        let (mut values, len) = (mem::take(&mut self.values), mem::take(&mut self.len));
        // SAFETY: `new` allocated at least `len` places. `put` counts `empty` down once for each place that it writes, and
        // it is 0, so all of them are written. No bit is left by which `self` would drop one.
        unsafe { values.set_len(len) };
        Ok(values)
    }
}

impl<T> Drop for Places<T> {
    fn drop(&mut self) {
        if !mem::needs_drop::<T>() {
            return;
        }
        for at in 0..self.len {
            drop(self.take(at));
        }
    }
}

/// The bit of a place in its word.
#[inline]
fn bit(at: usize) -> u64 {
    1_u64.wrapping_shl(u32::try_from(at % BITS).unwrap_or(0))
}

/// Asks the kernel for memory that will be written to.
fn populate<T>(memory: &mut [MaybeUninit<T>]) {
    let bytes = size_of_val(memory);
    if !(POPULATED_BYTES_MIN..=POPULATED_BYTES_MAX).contains(&bytes) {
        return;
    }
    let page = rustix::param::page_size();
    let start = memory.as_mut_ptr().cast::<u8>();
    let skipped = start.align_offset(page);
    let len = bytes.saturating_sub(skipped);
    let len = len.saturating_sub(len.checked_rem(page).unwrap_or(len));
    let start = start.wrapping_add(skipped).cast();
    // SAFETY: the whole pages from `start` lie in `memory`, which is borrowed mutably. Their content stays the same.
    let populated = unsafe { madvise(start, len, Advice::LinuxPopulateWrite) };
    // Linux before 5.14 cannot do it. Then each page comes when it is written to.
    tracing::trace!(?populated, bytes, "memory for values");
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn values_come_in_any_order() {
        for len in [0, 1, 63, 64, 65, 100_000] {
            let mut places = Places::new(len);
            for at in (0..len).rev() {
                assert_eq!(places.put(at, at as u64), Ok(()));
                assert_eq!(places.put(at, 7), Err(7), "it is filled");
            }
            assert_eq!(places.put(len, 8), Err(8));
            assert_eq!(places.into_vec().unwrap(), (0..len as u64).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_missing_value_leaves_the_others_where_they_are() {
        let mut places = Places::new(3);
        places.put(0, "a".to_owned()).unwrap();
        places.put(2, "c".to_owned()).unwrap();
        let mut places = places.into_vec().unwrap_err();
        assert_eq!(
            (0..4).map(|at| places.take(at)).collect::<Vec<_>>(),
            [Some("a".to_owned()), None, Some("c".to_owned()), None]
        );
        assert_eq!(places.take(0), None, "it was taken");
        places.put(0, "again".to_owned()).unwrap();
    }

    #[test]
    fn each_value_is_dropped_once() {
        let value = Rc::new(());
        let mut places = Places::new(130);
        for at in [0, 64, 129] {
            places.put(at, Rc::clone(&value)).unwrap();
        }
        drop(places.take(64));
        assert_eq!(Rc::strong_count(&value), 3);
        drop(places);
        assert_eq!(Rc::strong_count(&value), 1);
        let mut places = Places::new(2);
        (0..2).for_each(|at| places.put(at, Rc::clone(&value)).unwrap());
        let values = places.into_vec().unwrap();
        assert_eq!(Rc::strong_count(&value), 3);
        drop(values);
        assert_eq!(Rc::strong_count(&value), 1);
    }

    #[test]
    fn values_without_a_size_have_places_too() {
        let mut places = Places::new(70);
        (0..70).for_each(|at| places.put(at, ()).unwrap());
        assert_eq!(places.into_vec().unwrap().len(), 70);
    }
}

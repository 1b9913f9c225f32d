//! What the parent and its workers share: who does which item, and the results.
//!
//! Every item has one state word, and a record of [`RECORD_WORDS`] words.
//!
//! | state | word (high half, low half) | stored by |
//! |---|---|---|
//! | free | 0, 0 | the parent, when the worker that claimed the item died |
//! | claimed | 1, the worker's number | a worker, by compare and exchange from free |
//! | done | 2, 0 | the worker that claimed it, after the record |
//! | unreadable | 3, errno | the worker that claimed it |
//!
//! # Invariants
//! 1. Only the worker in the state word writes the item's record. So a record has one writer at a time: the parent
//!    frees an item only when its worker is dead.
//! 2. Done and unreadable are final. One store of one word takes an item there: whoever is killed has committed an item
//!    or has left no trace of it, and a half written record is nobody's.
//! 3. The store of the state releases and the load acquires, so whoever sees "done" sees the whole record.

use anyhow::{Context, Result};
use mp::{MemoryError, RangeError, RawArray, RawValue};

use crate::count::{Counts, RECORD_WORDS};

/// What is known about an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Free,
    Claimed(u32),
    Done,
    Unreadable(u32),
}

const CLAIMED: u64 = 1;
const DONE: u64 = 2;
const UNREADABLE: u64 = 3;

impl State {
    fn to_word(self) -> u64 {
        let (kind, detail) = match self {
            Self::Free => (0, 0),
            Self::Claimed(worker) => (CLAIMED, worker),
            Self::Done => (DONE, 0),
            Self::Unreadable(errno) => (UNREADABLE, errno),
        };
        kind << 32 | u64::from(detail)
    }

    fn from_word(word: u64) -> Option<Self> {
        let detail = u32::try_from(word & u64::from(u32::MAX)).ok()?;
        match (word >> 32, detail) {
            (0, 0) => Some(Self::Free),
            (CLAIMED, worker) => Some(Self::Claimed(worker)),
            (DONE, 0) => Some(Self::Done),
            (UNREADABLE, errno) => Some(Self::Unreadable(errno)),
            _ => None,
        }
    }
}

/// The shared memory of one run.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The next item that nobody took yet. A hint: the state words decide.
    cursor: RawValue<u64>,
    /// Items below this number may be committed. It is all of them unless workers are to be killed.
    released: RawValue<u64>,
    states: RawArray<u64>,
    records: RawArray<u64>,
}

impl Shared {
    /// For `items` free items of which none is released.
    pub(crate) fn new(items: usize) -> Result<Self, MemoryError> {
        Ok(Self {
            cursor: RawValue::new(0)?,
            released: RawValue::new(0)?,
            states: RawArray::zeroed(items)?,
            records: RawArray::zeroed(items.saturating_mul(RECORD_WORDS))?,
        })
    }

    pub(crate) fn items(&self) -> usize {
        self.states.len()
    }

    /// Takes the next item by the cursor, `None` behind the last one. Not claimed yet, and perhaps not free.
    pub(crate) fn advance(&self) -> Option<usize> {
        usize::try_from(self.cursor.fetch_add(1)).ok().filter(|item| *item < self.items())
    }

    /// Where the cursor is.
    pub(crate) fn cursor(&self) -> usize {
        self.place_of(self.cursor.load())
    }

    /// Moves the cursor back to `item`, if it is beyond, and tells where it was.
    pub(crate) fn rewind(&self, item: usize) -> usize {
        self.place_of(self.cursor.fetch_min(item as u64))
    }

    /// The cursor's place among the items: each worker moves it on once more after the last one.
    fn place_of(&self, cursor: u64) -> usize {
        usize::try_from(cursor.min(self.items() as u64)).unwrap_or(usize::MAX)
    }

    /// Claims an item for a worker; `false` if it is not free.
    pub(crate) fn claim(&self, item: usize, worker: u32) -> Result<bool, RangeError> {
        // Most items that are not free are seen here, without taking their cache line from anybody.
        if self.states.get(item)? != State::Free.to_word() {
            return Ok(false);
        }
        let (free, claimed) = (State::Free.to_word(), State::Claimed(worker).to_word());
        Ok(self.states.compare_exchange(item, free, claimed)?.is_ok())
    }

    /// Frees an item that a dead worker had claimed; `false` if it has committed it or never had it.
    pub(crate) fn take_back(&self, item: usize, dead: u32) -> Result<bool, RangeError> {
        let (claimed, free) = (State::Claimed(dead).to_word(), State::Free.to_word());
        Ok(self.states.compare_exchange(item, claimed, free)?.is_ok())
    }

    pub(crate) fn state(&self, item: usize) -> Result<State> {
        let word = self.states.get(item)?;
        State::from_word(word)
            .with_context(|| format!("item {item} has the state {word:#x}, which does not exist"))
    }

    pub(crate) fn is_released(&self, item: usize) -> bool {
        (item as u64) < self.released.load()
    }

    /// Allows all items below `end` to be committed.
    pub(crate) fn release(&self, end: usize) {
        self.released.store(end as u64);
    }

    /// Writes the record of an item that the caller has claimed. Nobody looks at it yet.
    pub(crate) fn write_record(&self, item: usize, counts: Counts) -> Result<(), RangeError> {
        self.records.write(item.saturating_mul(RECORD_WORDS), &counts.to_record())
    }

    /// Finishes an item that the caller has claimed, by one store: [`State::Done`] or [`State::Unreadable`].
    pub(crate) fn commit(&self, item: usize, state: State) -> Result<(), RangeError> {
        self.states.set(item, state.to_word())
    }

    /// The record of an item that is done.
    pub(crate) fn record(&self, item: usize) -> Result<Counts, RangeError> {
        let mut record = [0; RECORD_WORDS];
        self.records.read_into(item.saturating_mul(RECORD_WORDS), &mut record)?;
        Ok(Counts::from_record(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_words_and_back() {
        for state in
            [State::Free, State::Claimed(1), State::Claimed(u32::MAX), State::Done, State::Unreadable(13)]
        {
            assert_eq!(State::from_word(state.to_word()), Some(state));
        }
        for word in [1, DONE << 32 | 1, 4 << 32, u64::MAX] {
            assert_eq!(State::from_word(word), None, "{word:#x}");
        }
    }

    #[test]
    fn an_item_is_claimed_once_and_freed_only_from_its_own_worker() {
        let shared = Shared::new(2).unwrap();
        assert!(shared.claim(1, 7).unwrap());
        assert!(!shared.claim(1, 8).unwrap());
        assert!(!shared.take_back(1, 8).unwrap());
        assert!(shared.take_back(1, 7).unwrap());
        assert!(shared.claim(1, 8).unwrap());
        shared.commit(1, State::Done).unwrap();
        assert!(!shared.take_back(1, 8).unwrap(), "a commit is kept");
        assert_eq!(shared.state(1).unwrap(), State::Done);
        assert_eq!(shared.state(0).unwrap(), State::Free);
    }

    #[test]
    fn of_several_that_want_an_item_one_gets_it() {
        const ITEMS: usize = 2000;
        let shared = Shared::new(ITEMS).unwrap();
        let barrier = std::sync::Barrier::new(2);
        let claim_all = |worker| {
            (0..ITEMS)
                .filter(|item| {
                    barrier.wait();
                    shared.claim(*item, worker).unwrap()
                })
                .count()
        };
        let claimed = std::thread::scope(|scope| {
            let other = scope.spawn(|| claim_all(1));
            claim_all(2) + other.join().unwrap()
        });
        assert_eq!(claimed, ITEMS);
    }

    #[test]
    fn the_cursor_ends_behind_the_last_item_and_goes_back() {
        let shared = Shared::new(2).unwrap();
        assert_eq!([(); 4].map(|()| shared.advance()), [Some(0), Some(1), None, None]);
        assert_eq!(shared.cursor(), 2);
        assert_eq!(shared.rewind(1), 2);
        assert_eq!(shared.rewind(2), 1, "it never goes forward");
        assert_eq!(shared.advance(), Some(1));
    }
}

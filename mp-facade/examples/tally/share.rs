//! What the parent and its workers share: the tasks and their results.
//!
//! Tasks are numbers of items, in a [`JoinableQueue`]. A worker that gets one has it on lease; if the worker dies, the task
//! is handed out again. So a task may come more than once, even after its result was stored, if its worker was killed before
//! [`done`](mp::Task::done). That is why results are in shared memory under the task's number. Every item has one state word,
//! one word that says how often its task was handed out, and a record of [`RECORD_WORDS`] words.
//!
//! | state | word (high half, low half) | stored by |
//! |---|---|---|
//! | open | 0, 0 | nobody: this is the initial state |
//! | done | 1, 0 | the worker that has the task, after the record, by compare-and-exchange from open |
//! | unreadable | 2, errno | the same |
//! | given up | 3, deliveries | the parent, when the queue has put the task aside |
//!
//! # Invariants
//! 1. The worker that has the task on lease writes the item's record, while the item is open. A lease ends with its worker,
//!    so a record has one writer at a time.
//! 2. All states except open are final. One step of one word changes the state, so a killed worker has committed a result or
//!    has left no trace of it. Nobody reads a half-written record, and a result that comes twice counts once.
//! 3. The step to a state releases and the load acquires, so a process that sees "done" sees the whole record.

use anyhow::{Context, Result};
use mp::{JoinableQueue, RangeError, RawArray, RawValue};

use crate::count::{Counts, RECORD_WORDS};
use crate::ranking::Ranking;

/// The state of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Done,
    Unreadable(u32),
    /// Given up after so many deliveries, since each of its workers died.
    GivenUp(u32),
}

const DONE: u64 = 1;
const UNREADABLE: u64 = 2;
const GIVEN_UP: u64 = 3;

impl State {
    fn to_word(self) -> u64 {
        let (kind, detail) = match self {
            Self::Open => (0, 0),
            Self::Done => (DONE, 0),
            Self::Unreadable(errno) => (UNREADABLE, errno),
            Self::GivenUp(deliveries) => (GIVEN_UP, deliveries),
        };
        kind << 32 | u64::from(detail)
    }

    fn from_word(word: u64) -> Option<Self> {
        let detail = u32::try_from(word & u64::from(u32::MAX)).ok()?;
        match (word >> 32, detail) {
            (0, 0) => Some(Self::Open),
            (DONE, 0) => Some(Self::Done),
            (UNREADABLE, errno) => Some(Self::Unreadable(errno)),
            (GIVEN_UP, deliveries) => Some(Self::GivenUp(deliveries)),
            _ => None,
        }
    }
}

/// The objects that the processes of one run share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The items' numbers, in order. The queue is closed, since nothing is added, so workers end when all tasks are finished.
    pub(crate) tasks: JoinableQueue<u64>,
    /// Items below this number may be committed: all of them, unless workers will be killed.
    released: RawValue<u64>,
    states: RawArray<u64>,
    deliveries: RawArray<u32>,
    records: RawArray<u64>,
    /// Present if words are ranked. An item's words are added before the item is finished.
    pub(crate) ranking: Option<Ranking>,
}

impl Shared {
    /// Makes the objects for `items` open items. None is released, and each is handed out `deliveries` times at most.
    pub(crate) fn new(items: usize, deliveries: u32) -> Result<Self> {
        let memory = || format!("no shared memory for {items} items");
        let shared = Self {
            tasks: JoinableQueue::new().context("no queue for the work")?,
            released: RawValue::new(0).with_context(memory)?,
            states: RawArray::zeroed(items).with_context(memory)?,
            deliveries: RawArray::zeroed(items).with_context(memory)?,
            records: RawArray::zeroed(items.saturating_mul(RECORD_WORDS)).with_context(memory)?,
            ranking: None,
        };
        shared.tasks.set_max_deliveries(deliveries)?;
        let numbers: Vec<u64> = (0..items as u64).collect();
        shared.tasks.put_many(&numbers).with_context(|| format!("no room in the queue for {items} items"))?;
        shared.tasks.close()?;
        Ok(shared)
    }

    pub(crate) fn items(&self) -> usize {
        self.states.len()
    }

    /// Returns the size of the items' words and records in bytes.
    pub(crate) fn bytes(&self) -> usize {
        (self.states.len() + self.records.len()) * size_of::<u64>() + self.deliveries.len() * size_of::<u32>()
    }

    /// Returns the number of items whose tasks were handed out, all below this number, since tasks leave the queue in order.
    pub(crate) fn frontier(&self) -> usize {
        self.items().saturating_sub(self.tasks.len())
    }

    pub(crate) fn state(&self, item: usize) -> Result<State> {
        let word = self.states.get(item)?;
        State::from_word(word)
            .with_context(|| format!("item {item} has the state {word:#x}, which does not exist"))
    }

    /// Records how often an item's task was handed out. The worker that gets the task calls this before the work.
    pub(crate) fn note_delivery(&self, item: usize, deliveries: u32) -> Result<(), RangeError> {
        self.deliveries.set(item, deliveries)
    }

    /// Returns how often an item's task was handed out.
    pub(crate) fn deliveries(&self, item: usize) -> Result<u32, RangeError> {
        self.deliveries.get(item)
    }

    pub(crate) fn is_released(&self, item: usize) -> bool {
        (item as u64) < self.released.load()
    }

    /// Allows all items below `end` to be committed.
    pub(crate) fn release(&self, end: usize) {
        self.released.store(end as u64);
    }

    /// Writes the record of an open item, whose task the caller has. Nobody reads it yet.
    pub(crate) fn write_record(&self, item: usize, counts: Counts) -> Result<(), RangeError> {
        self.records.write(item.saturating_mul(RECORD_WORDS), &counts.to_record())
    }

    /// Finishes an item by one step. Returns `false`, and changes nothing, if it was finished before.
    pub(crate) fn commit(&self, item: usize, state: State) -> Result<bool, RangeError> {
        Ok(self.states.compare_exchange(item, State::Open.to_word(), state.to_word())?.is_ok())
    }

    /// Finishes the items whose tasks the queue has put aside, and returns how many these are.
    pub(crate) fn give_up_failed(&self) -> Result<u64> {
        let mut given_up = 0;
        for task in self.tasks.failed()? {
            let item = usize::try_from(task.decode::<u64>()?)?;
            self.note_delivery(item, task.deliveries)?;
            given_up += u64::from(self.commit(item, State::GivenUp(task.deliveries))?);
        }
        Ok(given_up)
    }

    /// Returns the record of an item that is done.
    pub(crate) fn record(&self, item: usize) -> Result<Counts, RangeError> {
        let mut record = [0; RECORD_WORDS];
        self.records.read_into(item.saturating_mul(RECORD_WORDS), &mut record)?;
        Ok(Counts::from_record(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(items: usize, deliveries: u32) -> Shared {
        Shared::new(items, deliveries).unwrap()
    }

    #[test]
    fn states_are_words_and_back() {
        for state in [State::Open, State::Done, State::Unreadable(13), State::GivenUp(u32::MAX)] {
            assert_eq!(State::from_word(state.to_word()), Some(state));
        }
        for word in [1, DONE << 32 | 1, 4 << 32, u64::MAX] {
            assert_eq!(State::from_word(word), None, "{word:#x}");
        }
    }

    #[test]
    fn a_result_that_comes_twice_changes_nothing() {
        let shared = shared(2, 1);
        assert!(shared.commit(1, State::Done).unwrap());
        assert!(!shared.commit(1, State::Unreadable(5)).unwrap());
        assert!(!shared.commit(1, State::Done).unwrap());
        assert_eq!([0, 1].map(|item| shared.state(item).unwrap()), [State::Open, State::Done]);
        assert!(shared.commit(2, State::Done).is_err(), "there is no such item");
    }

    #[test]
    fn of_several_that_have_a_result_one_commits_it() {
        const ITEMS: usize = 2000;
        let shared = shared(ITEMS, 1);
        let barrier = std::sync::Barrier::new(2);
        let commit_all = |state| {
            (0..ITEMS)
                .filter(|item| {
                    barrier.wait();
                    shared.commit(*item, state).unwrap()
                })
                .count()
        };
        let committed = std::thread::scope(|scope| {
            let other = scope.spawn(|| commit_all(State::Done));
            commit_all(State::Unreadable(5)) + other.join().unwrap()
        });
        assert_eq!(committed, ITEMS);
    }

    #[test]
    fn tasks_are_handed_out_in_order_and_then_the_queue_is_closed() {
        let shared = shared(2, 1);
        assert_eq!(shared.frontier(), 0);
        for item in 0..2 {
            assert_eq!(shared.tasks.get().unwrap().done(), item);
            assert_eq!(shared.frontier() as u64, item + 1);
        }
        assert_eq!(shared.tasks.get().unwrap_err(), mp::GetError::Closed);
        shared.tasks.join().unwrap();
    }

    #[test]
    fn a_task_that_is_put_aside_is_given_up() {
        let shared = shared(2, 3);
        for _ in 0..3 {
            let task = shared.tasks.get().unwrap();
            assert_eq!(*task, 0, "what comes back is handed out first");
            drop(task);
        }
        shared.tasks.get().unwrap().done();
        shared.tasks.join().unwrap();
        assert_eq!(shared.give_up_failed().unwrap(), 1);
        assert_eq!((shared.state(0).unwrap(), shared.deliveries(0).unwrap()), (State::GivenUp(3), 3));
        assert_eq!(shared.give_up_failed().unwrap(), 0);
    }

    #[test]
    fn a_result_is_kept_if_its_task_is_put_aside() {
        let shared = shared(1, 1);
        let task = shared.tasks.get().unwrap();
        assert!(shared.commit(0, State::Done).unwrap());
        // As if killed before `done`.
        drop(task);
        assert_eq!(shared.give_up_failed().unwrap(), 0);
        assert_eq!(shared.state(0).unwrap(), State::Done);
    }
}

//! How much one step of the state machine does, and what it leaves for the next steps.
//!
//! While the state machine runs, no client is served. So nothing that one client requests may take long. Work is
//! counted in *units* of about 10 ns, so that a test can check the limits without a clock.
//!
//! | work | limit |
//! |---|---|
//! | an operation, or a transaction | [`OPERATION_UNITS_MAX`]; beyond that it is refused and undone |
//! | what follows from it: waking callers, ends of clients and objects | a step of [`STEP_UNITS`]; the rest is left for later steps |
//! | an operation of the manager on many objects | as above; its client has no other turn meanwhile |
//!
//! The rest is done by `State::tidy`, one step at a time. It is invisible: an object whose lines are not served
//! completely is *held up*, and operations on it wait until they are. Calls whose answer is certain, and that only have
//! to be woken, no longer belong to a line.

use std::collections::{BTreeMap, HashSet, VecDeque};

use crate::limits::OPERATION_UNITS_MAX;
use crate::proto::{Answer, Fault, ObjectId, Payload};
use crate::state::clients::Client;
use crate::state::step::ClientId;
use crate::state::waiters::Line;

/// The units of one step, unless a single operation takes more.
pub(super) const STEP_UNITS: usize = 1 << 14;

/// The work of waking one caller or moving it to another line, including writing its answer.
pub(super) const CALLER: usize = 64;
/// The work of ending one object.
pub(super) const OBJECT: usize = 64;
/// The work of giving or taking away a client's reference to an object, or of dropping one inside a value.
pub(super) const REFERENCE: usize = 16;
/// The work of adding a reference inside a value.
pub(super) const INSIDE: usize = 2;
/// The work of storing or releasing one value.
pub(super) const VALUE: usize = 5;
/// The work of looking up a key and changing its entry.
pub(super) const ENTRY: usize = 96;
/// How many bytes of a key are hashed with one unit.
pub(super) const BYTES_HASHED: usize = 16;

/// Callers that have left their line and get the same answer, except that those of a barrier get their position.
#[derive(Debug)]
pub(super) struct Waking {
    pub(super) line: Line,
    pub(super) answer: Answer<Payload>,
}

/// A client that has ended, and what is left of it.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) id: ClientId,
    pub(super) client: Client,
    /// The number of the first answer that it certainly did not read.
    pub(super) unread: u64,
    /// The number of the first answer that it may not have read.
    pub(super) doubtful: u64,
}

/// Which objects take no operation and serve no line at the moment, in addition to those in [`Work::held_up`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frozen {
    None,
    /// The tasks of an ended client return to this queue.
    One(ObjectId),
    /// Items that an ended client did not read return to queues.
    Queues,
}

/// The work of the present step, and what is left for later ones.
#[derive(Debug)]
pub(super) struct Work {
    step_units: usize,
    /// The units of the present step that are left.
    left: usize,
    /// The units of the present step so far.
    done: usize,
    /// Whether earlier steps have left something. Then only [`State::tidy`](super::State::tidy) continues that, so that
    /// other calls do not pay for it.
    pub(super) has_backlog: bool,
    /// Objects whose lines are not served completely, in the order in which they are continued.
    queue: VecDeque<ObjectId>,
    held_up: HashSet<ObjectId>,
    pub(super) waking: VecDeque<Waking>,
    pub(super) ending: VecDeque<Ending>,
    /// Clients that have an operation which is not finished.
    pub(super) unfinished: VecDeque<ClientId>,
    pub(super) frozen: Frozen,
    /// Conditions whose notified callers ended before they had their lock.
    pub(super) passing_on: Vec<ObjectId>,
    /// How many of the first callers of a condition are notified, and still have to move to the line of their lock.
    notified: BTreeMap<ObjectId, u64>,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            step_units: STEP_UNITS,
            left: STEP_UNITS,
            done: 0,
            has_backlog: false,
            queue: VecDeque::new(),
            held_up: HashSet::new(),
            waking: VecDeque::new(),
            ending: VecDeque::new(),
            unfinished: VecDeque::new(),
            frozen: Frozen::None,
            passing_on: Vec::new(),
            notified: BTreeMap::new(),
        }
    }
}

impl Work {
    /// Sets the units of one step, for tests that divide everything.
    pub(super) const fn set_step(&mut self, units: usize) {
        self.step_units = units;
    }

    /// Begins a step.
    #[inline]
    pub(super) const fn begin(&mut self) {
        self.left = self.step_units;
        self.done = 0;
    }

    /// Begins the next part of a step.
    pub(super) const fn begin_part(&mut self) {
        self.left = self.step_units;
    }

    /// Counts work.
    #[inline]
    pub(super) const fn charge(&mut self, units: usize) {
        self.done = self.done.saturating_add(units);
        self.left = self.left.saturating_sub(units);
    }

    /// Returns the units of the present step so far.
    pub(super) const fn done(&self) -> usize {
        self.done
    }

    /// Returns `true` if the rest has to be left for later steps.
    pub(super) const fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Checks whether one operation or transaction is doing too much.
    ///
    /// # Errors
    /// [`Fault::TooMuchWork`].
    #[inline]
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.done > OPERATION_UNITS_MAX {
            return Err(Fault::TooMuchWork { limit: OPERATION_UNITS_MAX.try_into().unwrap_or(u64::MAX) });
        }
        Ok(())
    }

    /// Holds up an object until its lines are served.
    pub(super) fn hold_up(&mut self, object: ObjectId) {
        if self.held_up.insert(object) {
            self.queue.push_back(object);
        }
    }

    /// Returns `true` if the lines of an object are not served completely.
    #[inline]
    pub(super) fn holds_up(&self, object: ObjectId) -> bool {
        !self.held_up.is_empty() && self.held_up.contains(&object)
    }

    /// Returns `true` if any object is held up or frozen.
    #[inline]
    pub(super) fn holds_up_any(&self) -> bool {
        !self.held_up.is_empty() || self.frozen != Frozen::None
    }

    /// Removes and returns the next object to continue with.
    pub(super) fn next_held_up(&mut self) -> Option<ObjectId> {
        let object = self.queue.pop_front()?;
        self.held_up.remove(&object);
        Some(object)
    }

    /// Returns the number of objects that are held up.
    pub(super) fn held_up(&self) -> usize {
        self.queue.len()
    }

    /// Notifies so many more callers of a condition.
    pub(super) fn notify(&mut self, condition: ObjectId, count: u64) {
        let notified = self.notified.entry(condition).or_insert(0);
        *notified = notified.saturating_add(count);
    }

    pub(super) fn is_notified(&self, condition: ObjectId) -> bool {
        self.notified.get(&condition).is_some_and(|count| *count > 0)
    }

    /// Records that one of the notified callers has moved.
    pub(super) fn has_notified(&mut self, condition: ObjectId) {
        if let Some(count) = self.notified.get_mut(&condition) {
            *count = count.saturating_sub(1);
        }
    }

    pub(super) fn forget_notified(&mut self, condition: ObjectId) {
        self.notified.remove(&condition);
    }

    /// Returns `true` if something is left for later steps, apart from what objects have left behind.
    pub(super) fn has_more(&self) -> bool {
        !self.queue.is_empty()
            || !self.waking.is_empty()
            || !self.ending.is_empty()
            || !self.unfinished.is_empty()
    }
}

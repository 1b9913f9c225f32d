//! [`Caps`]: what a backend can do, and what it promises.

use std::fmt;
use std::time::Duration;

use crate::limits::VALUE_BYTES_MAX;
use crate::proto::Kind;

/// What a backend can do, and what it promises.
///
/// [`new`](Self::new) promises as little as possible, and each method adds a promise. So a backend that does not know a
/// promise of a later version does not make it by accident. The conformance tests check every promise, and the guide's
/// page on managers has a table of them.
///
/// # Fork safety
/// It is a plain value.
///
/// # Crash
/// It is a plain value.
///
/// # Source
/// None.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// use std::time::Duration;
///
/// use mp::manager::{Caps, Death, Kinds};
/// use mp::manager::proto::Kind;
///
/// let caps = Caps::new("my engine")
///     .kinds(Kinds::of(&[Kind::Queue, Kind::JoinableQueue]))
///     .death(Death::Within(Duration::from_secs(10)))
///     .requeue_front(true);
/// assert!(caps.kinds.contains(Kind::Queue) && !caps.kinds.contains(Kind::Lock));
/// assert!(!caps.transactions);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caps {
    /// The backend's name, for messages.
    pub name: &'static str,
    /// The kinds of objects that it has.
    pub kinds: Kinds,
    /// Whether several operations can run as one.
    pub transactions: bool,
    /// Whether operations of queues can be part of them.
    pub queue_transactions: bool,
    /// Whether waiting calls are served in the order in which they arrived.
    pub fair: bool,
    /// When others get what a dead process held.
    pub death: Death,
    /// How it finds out that nobody has a proxy of an object.
    pub references: References,
    /// Whether an item returns to its queue if the process that took it died before it read the answer, whatever else it
    /// had read or not read by then.
    pub unread_returns: bool,
    /// Whether the lengths of queues are exact at the moment of the call.
    pub exact_counts: bool,
    /// Whether a task that comes back is delivered before all others.
    pub requeue_front: bool,
    /// Whether a queue can take several items in one step.
    pub atomic_put_many: bool,
    /// Whether a queue can take several items in one call. If it does not take them [in one step](Self#structfield.atomic_put_many),
    /// an error can mean that some were put.
    pub puts_many: bool,
    /// Whether queues can be closed.
    pub closes: bool,
    /// Whether unfinished tasks are counted, so that a process can wait for the end of all.
    pub joins: bool,
    /// Whether a change that was confirmed can be lost, without an error, when another host takes over.
    pub may_lose_on_failover: bool,
    /// The longest value, in bytes; at most [`VALUE_BYTES_MAX`].
    pub value_bytes_max: usize,
}

/// When others get what a dead process held: its locks, permits, tasks, and places at barriers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Death {
    /// With the end of its connection, which the operating system reports at once.
    Connection,
    /// At most this long after its death.
    Within(Duration),
}

/// How a backend finds out that nobody has a proxy of an object without a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum References {
    /// It counts the proxies, so the object ends with the last one.
    Counted,
    /// Processes renew a lease, so the object ends some time after the last one.
    Leased,
    /// It does not find out: the object stays.
    None,
}

/// A set of kinds of objects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    /// No kind.
    pub const NONE: Self = Self(0);
    /// All kinds of objects that managers have.
    pub const ALL: Self = Self::of(&Self::LIST);

    /// Every kind except the manager itself.
    const LIST: [Kind; 14] = [
        Kind::List,
        Kind::Dict,
        Kind::Namespace,
        Kind::Lock,
        Kind::RLock,
        Kind::Semaphore,
        Kind::BoundedSemaphore,
        Kind::Condition,
        Kind::Event,
        Kind::Queue,
        Kind::JoinableQueue,
        Kind::Barrier,
        Kind::Value,
        Kind::Array,
    ];

    /// Makes a set of these kinds.
    #[must_use]
    pub const fn of(kinds: &[Kind]) -> Self {
        let (mut set, mut rest) = (Self::NONE, kinds);
        while let [kind, more @ ..] = rest {
            set = Self(set.0 | bit(*kind));
            rest = more;
        }
        set
    }

    /// Returns `true` if the set has this kind.
    #[must_use]
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & bit(kind) != 0
    }

    /// Returns `true` if the set has all kinds of another one.
    #[must_use]
    pub const fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the kinds that are in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the kinds in the set.
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Self::LIST.into_iter().filter(move |kind| self.contains(*kind))
    }
}

const fn bit(kind: Kind) -> u32 {
    // There are fewer kinds than bits.
    1_u32.wrapping_shl(kind as u32)
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Writes the methods that add one promise each.
macro_rules! promises {
    ($($(#[$doc:meta])* $name:ident: $type:ty),+ $(,)?) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub const fn $name(mut self, $name: $type) -> Self {
                self.$name = $name;
                self
            }
        )+
    };
}

impl Caps {
    /// Makes the capabilities of a backend that has no kind of object yet, and promises nothing.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            kinds: Kinds::NONE,
            transactions: false,
            queue_transactions: false,
            fair: false,
            death: Death::Within(Duration::MAX),
            references: References::None,
            unread_returns: false,
            exact_counts: false,
            requeue_front: false,
            atomic_put_many: false,
            puts_many: false,
            closes: false,
            joins: false,
            may_lose_on_failover: true,
            value_bytes_max: VALUE_BYTES_MAX,
        }
    }

    /// Makes the capabilities of a backend that runs this crate's state machine.
    pub(crate) const fn of_state(name: &'static str) -> Self {
        Self::new(name)
            .kinds(Kinds::ALL)
            .transactions(true)
            .queue_transactions(true)
            .fair(true)
            .death(Death::Connection)
            .references(References::Counted)
            .unread_returns(true)
            .exact_counts(true)
            .requeue_front(true)
            .atomic_put_many(true)
            .puts_many(true)
            .closes(true)
            .joins(true)
            .may_lose_on_failover(false)
    }

    promises! {
        /// Sets the [name](Self#structfield.name).
        name: &'static str,
        /// Sets the [kinds of objects](Self#structfield.kinds).
        kinds: Kinds,
        /// Sets whether [several operations can run as one](Self#structfield.transactions).
        transactions: bool,
        /// Sets whether [operations of queues can be part of them](Self#structfield.queue_transactions).
        queue_transactions: bool,
        /// Sets whether [waiting calls are served in order](Self#structfield.fair).
        fair: bool,
        /// Sets [when others get what a dead process held](Self#structfield.death).
        death: Death,
        /// Sets [how it finds out that nobody has a proxy](Self#structfield.references).
        references: References,
        /// Sets whether [unread items return](Self#structfield.unread_returns).
        unread_returns: bool,
        /// Sets whether [lengths of queues are exact](Self#structfield.exact_counts).
        exact_counts: bool,
        /// Sets whether [a task that comes back goes first](Self#structfield.requeue_front).
        requeue_front: bool,
        /// Sets whether [several items are put in one step](Self#structfield.atomic_put_many).
        atomic_put_many: bool,
        /// Sets whether [several items are put in one call](Self#structfield.puts_many).
        puts_many: bool,
        /// Sets whether [queues can be closed](Self#structfield.closes).
        closes: bool,
        /// Sets whether [unfinished tasks are counted](Self#structfield.joins).
        joins: bool,
        /// Sets whether [a confirmed change can be lost](Self#structfield.may_lose_on_failover).
        may_lose_on_failover: bool,
        /// Sets the [longest value](Self#structfield.value_bytes_max), in bytes.
        value_bytes_max: usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_kinds_that_it_was_made_of() {
        let some = Kinds::of(&[Kind::Array, Kind::List]);
        assert_eq!(some.iter().collect::<Vec<_>>(), [Kind::List, Kind::Array]);
        assert_eq!(format!("{some:?}"), "{List, Array}");
        assert!(Kinds::ALL.contains_all(some) && !some.contains_all(Kinds::ALL));
        assert_eq!(some.and(Kinds::of(&[Kind::List, Kind::Lock])), Kinds::of(&[Kind::List]));
        assert!(!Kinds::ALL.contains(Kind::Manager));
        assert_eq!(Kinds::ALL.iter().count(), 14);
        assert_eq!(Kinds::NONE.iter().count(), 0);
    }
}

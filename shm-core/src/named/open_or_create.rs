//! `open_or_create` of each object.
//!
//! To open and to create are two steps, and other processes can come in between. So the two alternate: if the creation finds
//! the name taken, the function opens again, and if it finds nothing to open, it creates. A name leads to a complete object
//! or to none, and the creator holds the object before it has its name. So a process that is killed at any point leaves
//! nothing that could stop the others. Each further turn means that another process has created or dropped the object
//! meanwhile.

use std::time::Duration;

use mp_sys::deadline::Deadline;

use super::NameError;
use crate::element::Element;
use crate::error::{BarrierError, SemaphoreError};
use crate::{
    Array, Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, RawArray, RawValue, RwLock, Semaphore,
    SharedMemory, Value,
};

/// How long this keeps trying while other processes create and drop the object all the time.
const TURNS_TIME_MAX: Duration = Duration::from_secs(30);

/// Opens the object, or creates it.
fn open_or_create<O, E: From<NameError> + PartialEq>(
    open: impl Fn() -> Result<O, NameError>,
    mut create: impl FnMut() -> Result<O, E>,
) -> Result<O, E> {
    let deadline = Deadline::after(TURNS_TIME_MAX);
    loop {
        match open() {
            Err(NameError::NotFound) => {}
            outcome => return Ok(outcome?),
        }
        match create() {
            Err(error) if error == E::from(NameError::Exists) && !deadline.has_passed() => {}
            outcome => return outcome,
        }
    }
}

/// Like [`open_or_create`], for a creation that needs a value. The value is made at most once, and only if needed.
fn with_init<O, V>(
    open: impl Fn() -> Result<O, NameError>,
    init: impl FnOnce() -> V,
    create: impl Fn(&V) -> Result<O, NameError>,
) -> Result<O, NameError> {
    let mut init = Some(init);
    let mut value: Option<V> = None;
    open_or_create(open, || {
        if let Some(init) = init.take() {
            value = Some(init());
        }
        // The value exists from the first turn on.
        value.as_ref().map_or(Err(NameError::Exists), &create)
    })
}

macro_rules! values {
    ($($type:ident, $what:literal;)*) => {$(
        impl<T: Element> $type<T> {
            #[doc = concat!("Opens the ", $what, " of this name, or creates it with the value that `init` returns.")]
            ///
            /// If several processes call this at the same moment, all of them get the same object. Each of them calls `init`
            /// at most once, and only if it found no object. If several call it, one of the values is used, and nobody sees
            /// the object before it contains that value. If `init` panics, nothing was created.
            ///
            /// # Errors
            /// [`NameError::WrongType`] if the name leads to another kind of object or another `T`;
            /// [`NameError::WrongVersion`]; [`NameError::BadName`]; or a shortage of memory or descriptors.
            pub fn open_or_create(name: &str, init: impl FnOnce() -> T) -> Result<Self, NameError> {
                with_init(|| Self::open(name), init, |value| Self::create(name, *value))
            }
        }
    )*};
}

values! {
    Value, "value";
    RawValue, "value";
    RwLock, "value";
}

macro_rules! arrays {
    ($($type:ident;)*) => {$(
        impl<T: Element> $type<T> {
            /// Opens the array of this name, or creates it with the elements that `init` returns. An existing array keeps its
            /// own length.
            ///
            /// If several processes call this at the same moment, all of them get the same array. Each of them calls `init`
            /// at most once, and only if it found no array. If several call it, the elements of one of them are used, and
            /// nobody sees the array before it contains them. If `init` panics, nothing was created.
            ///
            /// # Errors
            /// [`NameError::WrongType`] if the name leads to another kind of object or another `T`;
            /// [`NameError::WrongVersion`]; [`NameError::BadName`]; or a shortage of memory or descriptors.
            pub fn open_or_create(name: &str, init: impl FnOnce() -> Vec<T>) -> Result<Self, NameError> {
                with_init(|| Self::open(name), init, |elements| Self::create_from(name, elements))
            }
        }
    )*};
}

arrays! {
    Array;
    RawArray;
}

macro_rules! without_value {
    ($($type:ident, $what:literal, $born:literal;)*) => {$(
        impl $type {
            #[doc = concat!("Opens the ", $what, " of this name, or creates ", $born, ".")]
            ///
            /// If several processes call this at the same moment, all of them get the same object.
            ///
            /// # Errors
            /// [`NameError::WrongType`] if the name leads to another kind of object; [`NameError::WrongVersion`];
            /// [`NameError::BadName`]; shortage.
            pub fn open_or_create(name: &str) -> Result<Self, NameError> {
                open_or_create(|| Self::open(name), || Self::create(name))
            }
        }
    )*};
}

without_value! {
    Lock, "lock", "a free one";
    RLock, "lock", "a free one";
    Event, "event", "one that is not set";
    Condition, "condition", "one on which nobody waits";
}

macro_rules! semaphores {
    ($($type:ident;)*) => {$(
        impl $type {
            /// Opens the semaphore of this name, or creates one with `permits` free permits. An existing semaphore keeps its
            /// own permits.
            ///
            /// If several processes call this at the same moment, all of them get the same semaphore.
            ///
            /// # Errors
            /// [`SemaphoreError::TooManyPermits`]; [`SemaphoreError::Name`] if the name leads to another kind of object or is
            /// not valid; or a shortage of memory or descriptors.
            pub fn open_or_create(name: &str, permits: usize) -> Result<Self, SemaphoreError> {
                open_or_create(|| Self::open(name), || Self::create(name, permits))
            }
        }
    )*};
}

semaphores! {
    Semaphore;
    BoundedSemaphore;
}

/// The size of an object that was found, and the one that the caller asked for.
struct Sizes {
    found: usize,
    expected: usize,
    unit: &'static str,
}

impl Sizes {
    fn check(self, name: &str) -> Result<(), NameError> {
        let Self { found, expected, unit } = self;
        if found == expected {
            return Ok(());
        }
        Err(NameError::OtherSize { name: name.to_owned(), found, expected, unit })
    }
}

impl Barrier {
    /// Opens the barrier of this name, or creates one for `parties` parties.
    ///
    /// If several processes call this at the same moment, all of them get the same barrier.
    ///
    /// # Errors
    /// [`BarrierError::Parties`] for 0 or too many; [`BarrierError::Name`] with [`NameError::OtherSize`] if the name leads
    /// to a barrier for another number of parties, with [`NameError::WrongType`] if it leads to another kind of object, or
    /// if the name is not valid; or a shortage of memory or descriptors.
    pub fn open_or_create(name: &str, parties: usize) -> Result<Self, BarrierError> {
        let found = open_or_create(|| Self::open(name), || Self::create(name, parties))?;
        let size = Sizes { found: found.parties(), expected: parties, unit: "parties" };
        Ok(size.check(name).map(|()| found)?)
    }
}

impl SharedMemory {
    /// Opens the bytes of this name, or creates `len` zero bytes.
    ///
    /// If several processes call this at the same moment, all of them get the same bytes.
    ///
    /// # Errors
    /// [`NameError::OtherSize`] if the name leads to more or fewer bytes; [`NameError::WrongType`] if it leads to another
    /// kind of object; [`NameError::WrongVersion`]; [`NameError::BadName`]; or a shortage of memory or descriptors.
    pub fn open_or_create(name: &str, len: usize) -> Result<Self, NameError> {
        let found = open_or_create(|| Self::open(name), || Self::create(name, len))?;
        let size = Sizes { found: found.len(), expected: len, unit: "bytes" };
        size.check(name).map(|()| found)
    }
}

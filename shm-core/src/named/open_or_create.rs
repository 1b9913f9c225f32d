//! Objects that exist already, or are made now.
//!
//! A look and then a creation are two steps, and others come in between. So the two are repeated: a creation that finds the
//! name taken looks again, and a look that finds nothing creates. A name leads to a complete object or to none, and the
//! creator holds it before it has its name; so whoever is killed anywhere leaves nothing that keeps the others from going
//! on. Each turn means that another process has made or given up the object meanwhile.

use std::time::Duration;

use mp_sys::deadline::Deadline;

use super::NameError;
use crate::element::Element;
use crate::error::{BarrierError, SemaphoreError};
use crate::{
    Array, Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, RawArray, RawValue, RwLock, Semaphore,
    SharedMemory, Value,
};

/// Others that make an object and give it up all the time are given this long to let one through.
const TURNS_TIME_MAX: Duration = Duration::from_secs(30);

/// Finds the object, or makes it.
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

/// As [`open_or_create`], where the creation needs a value that is made once, and only if it is needed.
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
        // It is there from the first turn on.
        value.as_ref().map_or(Err(NameError::Exists), &create)
    })
}

macro_rules! values {
    ($($type:ident, $what:literal;)*) => {$(
        impl<T: Element> $type<T> {
            #[doc = concat!("Finds the ", $what, " of this name, or makes it with the value of `init`.")]
            ///
            /// When several processes call this at the same moment, all of them get the same object. `init` is called at
            /// most once by each of them, and only if it found nothing. So several may call it; the value of one counts,
            /// and nobody sees the object before that value is in it. If `init` panics, nothing was made.
            ///
            /// # Errors
            /// [`NameError::WrongType`] if the name leads to another kind of object or another `T`;
            /// [`NameError::WrongVersion`]; [`NameError::BadName`]; shortage.
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
            /// Finds the array of this name, or makes it with the elements that `init` returns. An array that exists keeps
            /// its own length.
            ///
            /// When several processes call this at the same moment, all of them get the same array. `init` is called at
            /// most once by each of them, and only if it found nothing. So several may call it; the elements of one count,
            /// and nobody sees the array before they are in it. If `init` panics, nothing was made.
            ///
            /// # Errors
            /// [`NameError::WrongType`] if the name leads to another kind of object or another `T`;
            /// [`NameError::WrongVersion`]; [`NameError::BadName`]; shortage.
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
            #[doc = concat!("Finds the ", $what, " of this name, or makes ", $born, ".")]
            ///
            /// When several processes call this at the same moment, all of them get the same object.
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
            /// Finds the semaphore of this name, or makes one with `permits` free permits. A semaphore that exists keeps
            /// its own permits.
            ///
            /// When several processes call this at the same moment, all of them get the same semaphore.
            ///
            /// # Errors
            /// [`SemaphoreError::TooManyPermits`]; [`SemaphoreError::Name`] if the name leads to another kind of object, or
            /// for a bad one; shortage.
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

impl Barrier {
    /// Finds the barrier of this name, or makes one for `parties` parties.
    ///
    /// When several processes call this at the same moment, all of them get the same barrier.
    ///
    /// # Errors
    /// [`BarrierError::Parties`] for 0 or too many; [`BarrierError::Name`] with [`NameError::OtherSize`] if the name leads
    /// to a barrier for another number of parties, with [`NameError::WrongType`] if it leads to another kind of object, or
    /// for a bad one; shortage.
    pub fn open_or_create(name: &str, parties: usize) -> Result<Self, BarrierError> {
        let found = open_or_create(|| Self::open(name), || Self::create(name, parties))?;
        if found.parties() == parties { Ok(found) } else { Err(NameError::OtherSize.into()) }
    }
}

impl SharedMemory {
    /// Finds the bytes of this name, or makes `len` bytes of zeros.
    ///
    /// When several processes call this at the same moment, all of them get the same bytes.
    ///
    /// # Errors
    /// [`NameError::OtherSize`] if the name leads to more or fewer bytes; [`NameError::WrongType`] if it leads to another
    /// kind of object; [`NameError::WrongVersion`]; [`NameError::BadName`]; shortage.
    pub fn open_or_create(name: &str, len: usize) -> Result<Self, NameError> {
        let found = open_or_create(|| Self::open(name), || Self::create(name, len))?;
        if found.len() == len { Ok(found) } else { Err(NameError::OtherSize) }
    }
}

//! Objects with a name, for programs that did not fork from each other.
//!
//! One process calls `create(name, …)`, and others call `open(name)`. If any of them may be the first, they all call
//! `open_or_create(name, …)`. The name disappears with the last process that holds the object. If `persist` was called, it
//! stays until [`unlink`]. A name that killed processes left is not found, and the next `create`, `open`, [`names`] or
//! [`list`] removes it. [`list`] also shows who holds each object. Opening an object of another kind or element type returns
//! [`NameError::WrongType`], which names both: two programs agree if the kind, size, alignment and the type's name without its modules are
//! equal.
//!
//! The object is in a file of mode 0600 in /dev/shm, so processes of the same user can open it. If its owner truncates that
//! file, every process that uses the object ends by SIGBUS. `systemd` with `RemoveIPC` removes the file at logout.
//!
//! Unlike Python's `SharedMemory(name=…)`, there is no tracker process that guesses which names are still needed.
//!
//! ```
//! # extern crate shm_core as mp;
//! use mp::{NameError, Value, named};
//!
//! # let name = format!("example-{:p}", &());
//! let made = Value::create(&name, 5_u32)?;
//! let found = Value::<u32>::open(&name)?; // by any process of this user
//! found.set(6)?;
//! assert_eq!(made.get()?, 6);
//! let refused = Value::<f32>::open(&name).unwrap_err();
//! assert!(matches!(&refused, NameError::WrongType { found, .. } if found == "Value<u32>"), "{refused}");
//! assert!(named::names().contains(&name));
//! drop((made, found));
//! assert_eq!(Value::<u32>::open(&name).unwrap_err(), NameError::NotFound);
//!
//! Value::open_or_create(&name, || 7_u32)?.persist()?;
//! let left = Value::open_or_create(&name, || 0_u32)?; // by a program that starts later
//! assert_eq!(left.get()?, 7);
//! left.unlink()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod handles;
mod listed;
mod open_or_create;

use std::any::type_name;
use std::mem::{align_of, size_of};

use mp_sys::named::{Description, ExistingSpan, Expected, Kind, Placed, Segment, What, fingerprint};
pub use mp_sys::named::{NAME_BYTES_MAX, NameError};
use mp_sys::span::Span;

pub use self::listed::NamedObject;
use crate::kind;

/// Returns the names that exist, in no particular order, after removing those that killed processes left.
///
/// The names of all users and all builds are included. [`list`] says more about those that this process can open.
#[must_use]
pub fn names() -> Vec<String> {
    mp_sys::named::sweep();
    mp_sys::named::names()
}

/// Returns the named objects of this user, sorted by name, with their types and the processes that hold them.
///
/// Use it to look around and to clean up: by the time it returns, other processes may have created or dropped objects. It
/// reads `/proc` for every process of this user, which takes longer the more descriptors they have.
///
/// ```
/// # extern crate shm_core as mp;
/// use mp::{Value, named};
///
/// # let name = format!("listed-{}", std::process::id());
/// let jobs = Value::create(&name, 3_u32)?;
/// let found = named::list().into_iter().find(|object| object.name == name).unwrap();
/// assert_eq!((found.kind, found.element.as_deref()), ("Value", Some("u32")));
/// assert_eq!(found.holders, [std::process::id()]);
/// println!("{found}"); // jobs: Value<u32>, 8192 bytes, made 0.1ms ago, held by 4711
/// # Ok::<(), mp::NameError>(())
/// ```
#[must_use]
pub fn list() -> Vec<NamedObject> {
    mp_sys::named::list().into_iter().map(NamedObject::of).collect()
}

/// Removes a name at once. Processes that have the object keep it. Nobody can open it any more, and the name is free.
///
/// # Errors
/// [`NameError::NotFound`], [`NameError::BadName`], [`NameError::PermissionDenied`].
#[doc(alias = "shm_unlink")]
pub fn unlink(name: &str) -> Result<(), NameError> {
    mp_sys::named::unlink_name(name)
}

/// Creates a segment of `bytes` bytes under a name. `fill` makes the object of `len` elements of type `T` in it.
pub(crate) fn create<T, O: Placed>(
    name: &str,
    kind: Kind,
    len: usize,
    bytes: usize,
    fill: impl FnOnce(Span) -> Result<O, Span>,
) -> Result<(O, Segment), NameError> {
    let description = Description { what: of::<T>(kind), len: u64::try_from(len).unwrap_or(u64::MAX) };
    let (segment, object) = Segment::create(name, bytes, description, type_name::<T>(), fill)?;
    Ok((object, segment))
}

/// Opens the object of type `T` that has this name, and passes its number of elements to `attach`.
pub(crate) fn open<T, O: Placed>(
    name: &str,
    kind: Kind,
    attach: impl FnOnce(usize, ExistingSpan<O>) -> Option<O>,
) -> Result<(O, Segment), NameError> {
    let attach = |description: Description, span| attach(len_of(description)?, span);
    let expected = Expected { what: of::<T>(kind), type_name: type_name::<T>(), words: kind::words_for };
    let (segment, object) = Segment::open(name, expected, attach)?;
    Ok((object, segment))
}

/// Returns the number of elements if it fits in a `usize`.
pub(crate) fn len_of(description: Description) -> Option<usize> {
    usize::try_from(description.len).ok()
}

/// Returns the description by which programs agree on an object of this kind with elements of type `T`.
pub(crate) fn of<T>(kind: Kind) -> What {
    What { kind, print: fingerprint("element", size_of::<T>(), align_of::<T>(), type_name::<T>()) }
}

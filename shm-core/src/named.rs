//! Objects with a name, for programs that are not each other's children.
//!
//! One process makes the object by `create(name, …)`, others find it by `open(name)`; `open_or_create(name, …)` is for
//! processes of which any may be the first. The name goes with the last process that holds the object, unless somebody
//! called `persist`: then it stays until [`unlink`]. A name that killed processes left is not found, and is removed at the
//! next `create`, `open`, [`names`] or [`list`], which also says who holds what. An object of another kind or element type is [`NameError::WrongType`]: two programs agree if kind, size,
//! alignment and the type's name without its modules are equal.
//!
//! The object lies in a file of mode 0600 in /dev/shm, so processes of the same user can open it. Its owner could truncate
//! that file, which ends every process that uses the object by SIGBUS. `systemd` with `RemoveIPC` removes it at logout.
//!
//! Unlike Python's `SharedMemory(name=…)` there is no tracker process that guesses who still needs a name.
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
//! assert_eq!(Value::<f32>::open(&name).unwrap_err(), NameError::WrongType);
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

use mp_sys::named::{Description, ExistingSpan, Kind, Placed, Segment, What, fingerprint};
pub use mp_sys::named::{NAME_BYTES_MAX, NameError};
use mp_sys::span::Span;

pub use self::listed::NamedObject;

/// The names that exist, after removing those that killed processes left. In no particular order.
///
/// They are those of all users and all builds; [`list`] says more of those that this process could open.
#[must_use]
pub fn names() -> Vec<String> {
    mp_sys::named::sweep();
    mp_sys::named::names()
}

/// The objects of this user that have a name, sorted by name, with what they are and which processes hold them.
///
/// It is for people and for tools that clean up: by the time it returns, other processes may have made or dropped some. It
/// reads `/proc` of every process of this user, which takes longer the more descriptors they have.
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

/// Removes a name at once. Whoever has the object keeps it; nobody can open it any more, and the name is free.
///
/// # Errors
/// [`NameError::NotFound`], [`NameError::BadName`], [`NameError::PermissionDenied`].
#[doc(alias = "shm_unlink")]
pub fn unlink(name: &str) -> Result<(), NameError> {
    mp_sys::named::unlink_name(name)
}

/// Makes `bytes` bytes under a name; `fill` makes the object of `len` elements of type `T` in them.
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

/// Finds the object of type `T` that has this name; `attach` is given its number of elements.
pub(crate) fn open<T, O: Placed>(
    name: &str,
    kind: Kind,
    attach: impl FnOnce(usize, ExistingSpan<O>) -> Option<O>,
) -> Result<(O, Segment), NameError> {
    let attach = |description: Description, span| attach(len_of(description)?, span);
    let (segment, object) = Segment::open(name, of::<T>(kind), attach)?;
    Ok((object, segment))
}

/// The number of elements, if it fits here.
pub(crate) fn len_of(description: Description) -> Option<usize> {
    usize::try_from(description.len).ok()
}

/// What an object of this kind and of elements of type `T` is between programs.
pub(crate) fn of<T>(kind: Kind) -> What {
    What { kind, print: fingerprint("element", size_of::<T>(), align_of::<T>(), type_name::<T>()) }
}

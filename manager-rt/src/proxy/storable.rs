//! [`Storable`]: the type of an object that is made from a borrowed value.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::path::{Path, PathBuf};

/// A value or its borrowed form, as [`Manager::value`](crate::Manager::value) and
/// [`Namespace::set`](crate::Namespace::set) take it by reference.
///
/// A reader has to name the type of the value. An object made from a `str` therefore holds a `String`, one made from a
/// `[T]` holds a `Vec<T>`, and every sized type holds itself. Methods of existing objects, whose type is known, require
/// [`SameBytes`](crate::SameBytes) instead.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use mp::manager::{Manager, Value};
///
/// let name: Value<String> = Manager::in_process()?.value("Ada")?;
/// assert_eq!(name.replace("Grace")?, "Ada");
/// # Ok(())
/// # }
/// ```
pub trait Storable {
    /// The type that is stored: it has the same encoded bytes.
    type Owned;
}

impl<T> Storable for T {
    type Owned = T;
}

impl Storable for str {
    type Owned = String;
}

impl<T> Storable for [T] {
    type Owned = Vec<T>;
}

impl Storable for Path {
    type Owned = PathBuf;
}

impl Storable for OsStr {
    type Owned = OsString;
}

impl Storable for CStr {
    type Owned = CString;
}

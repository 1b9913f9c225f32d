//! [`Storable`]: of which type an object is that is made from a borrowed value.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::path::{Path, PathBuf};

/// A value, or the borrowed form of one: what [`Manager::value`](crate::Manager::value) and
/// [`Namespace::set`](crate::Namespace::set) take a reference to.
///
/// Whoever reads the value names its type. So an object that is made from a `str` holds a `String`, and one made from a
/// `[T]` a `Vec<T>`; every sized type holds itself. [`SameBytes`](crate::SameBytes) is what methods of objects ask for, whose
/// type is known.
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
    /// What is stored: the same bytes, read as this type.
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

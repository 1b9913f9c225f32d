//! Which values are encoded alike: what may be passed where a value is only encoded.
//!
//! A `Queue<String>` need not be given a `String`: a `str` becomes the same bytes. [`SameBytes`] says for which pairs of
//! types that is so. `Borrow` would not do, as it speaks of `Hash` and `Eq` and not of bytes: `[u8; 4]` borrows as `[u8]`,
//! but a slice is encoded with its length and an array without, so the one would be decoded as garbage of the other.
//!
//! # Why the trait is one of a third type
//! `Wire: SameBytes<Q, T>` has neither type in front. The compiler refuses to guess the type in front, but it does infer the
//! others where one implementation fits: so `put(&5)` still makes its literal what the queue holds, `put(&"7".parse()?)`
//! still parses that, and a queue whose type is written nowhere is still a queue of what is put first. That rests on there
//! being one implementation for each sized type that borrows nothing, which is why a `Box<T>` does not take a `T`.

use std::borrow::Cow;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// The form of values between processes, of which [`SameBytes`] speaks. It has no values.
#[derive(Debug)]
pub enum Wire {}

/// `Wire: SameBytes<Q, T>` says that a `Q` is encoded exactly as an equal `T` is, so that a `&Q` can be passed where a `T` is
/// only encoded.
///
/// | where the object holds | it takes a reference to |
/// |---|---|
/// | any `T` | a `T` |
/// | `String` | `str`, `&str`, `&String`, `Box<str>`, `Cow<str>` |
/// | `Vec<T>` | `[T]`, `&[T]`, `&Vec<T>`, `Box<[T]>`, and the same of a `Q` that may stand for `T` |
/// | `Box<str>`, `Rc<str>`, `Arc<str>`, `Cow<str>` | `str`, `&str` |
/// | `Box<[T]>`, `Rc<[T]>`, `Arc<[T]>`, `Cow<[T]>` | `[T]`, `&[T]` |
/// | `PathBuf` | `Path`, `&Path`, `str` |
/// | `OsString`, `CString` | `OsStr`, `CStr` |
///
/// An array `[T; N]` is no slice here: it is encoded without its length. Nor is a tuple of references a tuple of values.
///
/// # Your own types
/// A type that serde encodes as a `str`, for example by `#[serde(transparent)]`, may say so:
///
/// ```
/// # mod mp { pub use mp_sys::alike::{SameBytes, Wire}; }
/// use mp::{SameBytes, Wire};
///
/// struct Word(String); // with #[derive(Serialize, Deserialize)]
///
/// impl SameBytes<str, Word> for Wire {}
/// ```
///
/// If it is not true, the bytes are no `Word` for whoever receives them, or another one. No memory is at risk.
#[diagnostic::on_unimplemented(
    message = "a `{Q}` is not encoded as a `{T}` is",
    label = "this does not stand for a `{T}`",
    note = "pass a `&{T}`, or what it borrows as: `&str` for a `String`, `&[T]` for a `Vec<T>`",
    note = "an array is encoded without its length: for a `Vec<T>` pass `&array[..]`",
    note = "what is behind a `Box`, an `Arc` or a guard is passed as `&*it`"
)]
pub trait SameBytes<Q: ?Sized, T: ?Sized> {}

impl<T> SameBytes<T, T> for Wire {}

macro_rules! alike {
    ($($from:ty),+ => $to:ty) => {
        $(impl SameBytes<$from, $to> for Wire {})+
    };
}

alike!(str, &str, &String, Box<str>, Cow<'_, str> => String);
alike!(str, &str => Box<str>);
alike!(str, &str => Rc<str>);
alike!(str, &str => Arc<str>);
alike!(str, &str => Cow<'_, str>);
alike!(Path, &Path, str => PathBuf);
alike!(OsStr => OsString);
alike!(CStr => CString);

macro_rules! slices {
    ($($from:ty),+ => $to:ty) => {
        $(impl<Q, T> SameBytes<$from, $to> for Wire where Self: SameBytes<Q, T> {})+
    };
}

slices!([Q], &[Q], &Vec<Q>, Box<[Q]> => Vec<T>);
slices!([Q], &[Q] => Box<[T]>);
slices!([Q], &[Q] => Rc<[T]>);
slices!([Q], &[Q] => Arc<[T]>);

impl<T: Clone> SameBytes<[T], Cow<'_, [T]>> for Wire {}
impl<T: Clone> SameBytes<&[T], Cow<'_, [T]>> for Wire {}

//! Values with the same encoding: what you can pass where a value is only encoded.
//!
//! A `Queue<String>` does not need a `String`, because a `str` becomes the same bytes. [`SameBytes`] lists the pairs of types
//! for which that is true. `Borrow` would be the wrong trait: it promises something about `Hash` and `Eq`, and nothing about
//! bytes. `[u8; 4]` borrows as `[u8]`, but a slice is encoded with its length and an array without it, so the receiver would
//! decode garbage.
//!
//! # Why a third type implements the trait
//! `Wire: SameBytes<Q, T>` has neither `Q` nor `T` in front. The compiler never guesses the type in front, but it infers the
//! others if only one implementation fits. So `put(&5)` still gives the literal the type of the queue's items,
//! `put(&"7".parse()?)` still parses that type, and a queue without a written type still gets the type of its first item. That
//! requires a single implementation for each sized type that borrows nothing, so a `Box<T>` does not accept a `T`.

use std::borrow::Cow;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// The encoding of values between processes, for which [`SameBytes`] is implemented. It has no values.
#[derive(Debug)]
pub enum Wire {}

/// `Wire: SameBytes<Q, T>` promises that a `Q` is encoded exactly as an equal `T` is. So you can pass a `&Q` where a `T` is
/// only encoded.
///
/// | an object of | accepts a reference to |
/// |---|---|
/// | any `T` | a `T` |
/// | `String` | `str`, `&str`, `&String`, `Box<str>`, `Cow<str>` |
/// | `Vec<T>` | `[T]`, `&[T]`, `&Vec<T>`, `Box<[T]>`, and the same with a `Q` that can replace `T` |
/// | `Box<str>`, `Rc<str>`, `Arc<str>`, `Cow<str>` | `str`, `&str` |
/// | `Box<[T]>`, `Rc<[T]>`, `Arc<[T]>`, `Cow<[T]>` | `[T]`, `&[T]` |
/// | `PathBuf` | `Path`, `&Path`, `str` |
/// | `OsString`, `CString` | `OsStr`, `CStr` |
///
/// An array `[T; N]` does not count as a slice, because it is encoded without its length. A tuple of references does not
/// count as a tuple of values.
///
/// # Your own types
/// If serde encodes a type as a `str`, for example because of `#[serde(transparent)]`, you can declare that:
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
/// If the declaration is false, the receiver gets an error or another `Word`. No memory is at risk.
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

//! The arguments of a worker.

use serde::Serialize;

/// A value that can be passed to a worker that takes an `A`.
///
/// | if the worker takes | you can pass |
/// |---|---|
/// | any `A` | an `A`, or a `&A` |
/// | a `String` | also a `&str` |
/// | a `Vec<T>` | also a `&[T]` |
/// | a tuple of up to 12 parts | a tuple with any of these in each place |
///
/// You can implement this for your own type if it has the same serialized form as `A`. If the form differs, the worker is not
/// called, and `join` returns the reason.
///
/// If you pass a reference, this process keeps the object. A value goes to the child, and is dropped here. Pass a shared
/// object by reference to go on using it:
///
/// ```standalone_crate
/// use mp::{Array, Value};
///
/// fn work((sum, numbers, extra): (Value<u64>, Array<u64>, u64)) {
///     let more: u64 = numbers.to_vec().unwrap().iter().sum();
///     sum.update(|sum| sum + more + extra).unwrap();
/// }
///
/// let (sum, numbers) = (Value::new(1)?, Array::from_slice(&[2, 3])?);
/// mp::spawn(work, (&sum, &numbers, 1))?.join()?;
/// assert_eq!(sum.get(), Ok(7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed to a worker that takes `{A}`",
    note = "pass the argument itself or a reference to it, or in a tuple either for each part; all must implement \
            serde's `Serialize` and `DeserializeOwned`, which guards, permits, tasks, `Child` and `Listener` do not"
)]
pub trait Arguments<A>: Serialize {}

impl<A: Serialize> Arguments<A> for A {}
impl<A: Serialize> Arguments<A> for &A {}
impl Arguments<String> for &str {}
impl<T: Serialize> Arguments<Vec<T>> for &[T] {}

// Tuples with at least one reference: a tuple of values only is already an `A`. No tuple may have two implementations, so
// each implementation is for one place of the first reference, with values before it and anything after it.

/// The implementations for each place in a list of type parameters, each paired with the type of what is passed for it.
macro_rules! places {
    ([$($value:ident)*]) => {};
    ([$($value:ident)*] $first:ident $any:ident $($rest:ident $others:ident)*) => {
        impl<$($value: Serialize,)* $first: Serialize, $($rest, $others: Arguments<$rest>),*>
            Arguments<($($value,)* $first, $($rest,)*)> for ($($value,)* &$first, $($others,)*)
        {
        }

        impl<$($value: Serialize,)* $($rest, $others: Arguments<$rest>),*>
            Arguments<($($value,)* String, $($rest,)*)> for ($($value,)* &str, $($others,)*)
        {
        }

        impl<$($value: Serialize,)* $first: Serialize, $($rest, $others: Arguments<$rest>),*>
            Arguments<($($value,)* Vec<$first>, $($rest,)*)> for ($($value,)* &[$first], $($others,)*)
        {
        }

        places!([$($value)* $first] $($rest $others)*);
    };
}

/// [`places!`] for each number of parameters.
macro_rules! tuples {
    ([$($all:ident)*]) => {};
    ([$($all:ident)*] $next:ident $any:ident $($rest:ident)*) => {
        places!([] $($all)* $next $any);
        tuples!([$($all)* $next $any] $($rest)*);
    };
}

tuples!([] A A1 B B1 C C1 D D1 E E1 F F1 G G1 H H1 I I1 J J1 K K1 L L1);

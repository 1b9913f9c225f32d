//! What a worker can be given.

use serde::Serialize;

/// What can be given to a worker that takes an `A`: an `A`, a reference to one, or for a tuple a tuple of references.
///
/// A type of your own that has the same serialized form may implement this as well: if it has not, the worker is not called,
/// and `join` says why.
///
/// A reference keeps the object here too; a value goes to the child, and is dropped here. This is how a shared object
/// becomes an argument and stays:
///
/// ```standalone_crate
/// use mp::{Array, Value};
///
/// fn work((sum, numbers): (Value<u64>, Array<u64>)) {
///     let more: u64 = numbers.to_vec().unwrap().iter().sum();
///     sum.update(|sum| sum + more).unwrap();
/// }
///
/// let (sum, numbers) = (Value::new(1)?, Array::from_slice(&[2, 3])?);
/// mp::spawn(work, (&sum, &numbers))?.join()?;
/// assert_eq!(sum.get(), Ok(6));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no argument for a worker that takes `{A}`",
    note = "give the argument itself, a reference to it, or a tuple of references to its parts; all must implement \
            serde's `Serialize` and `DeserializeOwned`, which guards, permits, tasks, `Child` and `Listener` do not"
)]
pub trait Arguments<A>: Serialize {}

impl<A: Serialize> Arguments<A> for A {}
impl<A: Serialize> Arguments<A> for &A {}

macro_rules! tuples {
    ($($types:ident)*) => {
        impl<$($types: Serialize),*> Arguments<($($types,)*)> for ($(&$types,)*) {}
    };
}
tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);
tuples!(A B C D E F G H I);
tuples!(A B C D E F G H I J);
tuples!(A B C D E F G H I J K);
tuples!(A B C D E F G H I J K L);

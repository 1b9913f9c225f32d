//! The values that a child can return to its parent.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value that a child can return to its parent: every type that implements serde's `Serialize` and `DeserializeOwned`.
///
/// There is nothing to implement by hand. The trait exists so that the compiler can explain what is wrong with another type.
///
/// Return a `String` instead of a `&str`, and in general nothing that borrows. For a `&'static str`, the compiler only says
/// that an implementation of `Deserialize` "is not general enough".
///
/// A closure that never returns needs a type:
/// ```standalone_crate
/// let child = mp::fork(|| -> () { loop { std::thread::park() } })?;
/// child.kill()?;
/// assert_eq!(child.join(), Err(mp::ExitError::Signaled(9)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a child process cannot return `{Self}`",
    label = "this cannot be sent to the parent",
    note = "if the closure never returns, give it a return type: `|| -> () {{ ... }}`",
    note = "the value must implement serde's `Serialize` and `DeserializeOwned`; guards, permits, tasks, `Child` and `Listener` cannot leave \
            their process"
)]
pub trait ReturnValue: Serialize + DeserializeOwned {}

// Without it, the compiler reports that a trait of serde is missing, and not the notes above.
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> ReturnValue for T {}

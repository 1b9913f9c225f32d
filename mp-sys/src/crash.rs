//! Crash points: counted places between two steps of a protocol where a test kills the process.
//!
//! A protocol that promises to survive SIGKILL at any instruction calls [`point`] after each of its stores, and so does the
//! way to start a process after each of its steps. Without the feature `crash-points` the call is nothing at all. With it, a
//! test forks a child, arms it with `die_at(n)`, runs the operation, and the child dies at the n-th point that it meets;
//! with n = 1, 2, 3, … until the child survives, every point has been tried.
//!
//! One process is armed, and what it starts is not: a test arms itself, or arms in advance a process that will be started, by
//! `descendant_dies_at`. A forked process finds in its copy of the memory that it is meant; a process that is executed is
//! told by an environment variable, which is read once, when it is taken over (see [`crate::reexec`]). Those that are not
//! meant are started without that variable.
//!
//! Under `cfg(loom)`, with the feature `testing`, the same points end a thread of a model, in every order of what the others
//! do meanwhile. Without the feature somebody else's models are run, and the points are nothing to them.

#[cfg(all(feature = "crash-points", not(all(loom, feature = "testing"))))]
mod counted;
#[cfg(all(loom, feature = "testing"))]
mod modelled;
#[cfg(any(not(feature = "crash-points"), all(loom, feature = "testing")))]
mod nothing;

#[cfg(all(feature = "crash-points", not(all(loom, feature = "testing"))))]
pub use self::counted::{VARIABLE, descendant_dies_at, die_at, point};
#[cfg(all(feature = "crash-points", not(all(loom, feature = "testing"))))]
pub(crate) use self::counted::{begin_executed, begin_forked, hand_on, has_forked};
#[cfg(all(loom, feature = "testing"))]
pub use self::modelled::{point, until};
#[cfg(not(any(feature = "crash-points", all(loom, feature = "testing"))))]
pub use self::nothing::point;
#[cfg(any(not(feature = "crash-points"), all(loom, feature = "testing")))]
pub(crate) use self::nothing::{begin_executed, begin_forked, hand_on, has_forked};

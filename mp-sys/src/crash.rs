//! Crash points: counted places between two steps of a protocol where a test kills the process.
//!
//! A protocol that promises to survive SIGKILL at any instruction calls [`point`] after each of its stores. The code
//! that starts a process calls it after each of its steps. Without the feature `crash-points`, the call compiles to
//! nothing. With it, a test forks a child, arms it with `die_at(n)`, and runs the operation; the child dies at the n-th
//! point that it reaches. With n = 1, 2, 3, … until the child survives, the test tries every point.
//!
//! Only one process is armed; the processes that it starts are not. A test arms itself, or uses `descendant_dies_at` to
//! arm a process in advance that will be started later. A forked process sees in its copy of the memory that it is
//! armed. An executed process learns it from an environment variable, which it reads once, when it is taken over (see
//! [`crate::reexec`]). Other processes are started without that variable.
//!
//! Under `cfg(mp_loom)`, with the feature `testing`, the same points end a thread of a model, in every order of what the
//! other threads do meanwhile. Without that feature, models of another crate are running, and the points do nothing.

#[cfg(all(feature = "crash-points", not(all(mp_loom, feature = "testing"))))]
mod counted;
#[cfg(all(mp_loom, feature = "testing"))]
mod modelled;
#[cfg(any(not(feature = "crash-points"), all(mp_loom, feature = "testing")))]
mod nothing;

#[cfg(all(feature = "crash-points", not(all(mp_loom, feature = "testing"))))]
pub use self::counted::{VARIABLE, descendant_dies_at, die_at, point};
#[cfg(all(feature = "crash-points", not(all(mp_loom, feature = "testing"))))]
pub(crate) use self::counted::{begin_executed, begin_forked, hand_on, has_forked};
#[cfg(all(mp_loom, feature = "testing"))]
pub use self::modelled::{point, until};
#[cfg(not(any(feature = "crash-points", all(mp_loom, feature = "testing"))))]
pub use self::nothing::point;
#[cfg(any(not(feature = "crash-points"), all(mp_loom, feature = "testing")))]
pub(crate) use self::nothing::{begin_executed, begin_forked, hand_on, has_forked};

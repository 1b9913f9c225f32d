//! Bodies that run twice: by threads under `ThreadSanitizer`, and by processes. See [`mp_sys::testing::spawner`].
//!
//! [`Plain`](mp_sys::testing::plain::Plain) words stand beside the queues, so that a missing order is a race. Beside
//! pipes there are none: the kernel orders what goes through a socket, by system calls that the sanitizer does not see.
//! Nor does it see `rep movsq`, by which long items are copied; what is copied wrongly shows in the items.
//!
//! No body asserts [`late_waits`](mp_sys::futex::late_waits): a change that comes between the end of a slice and the
//! sleeper's next look may count as late although nothing was lost.

mod pipes;
mod queues;
mod tasks;

use mp_sys::testing::runner::Test;
use mp_sys::testing::spawner::Spawner;

pub(crate) fn tests<S: Spawner>() -> Vec<Test> {
    [queues::tests::<S>(), tasks::tests::<S>(), pipes::tests::<S>()].concat()
}

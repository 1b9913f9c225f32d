//! Bodies that run twice: by threads under `ThreadSanitizer`, and by processes. See [`mp_sys::testing::spawner`].
//!
//! Each one that can puts a [`Plain`](mp_sys::testing::plain::Plain) word behind the object that it tests, so that a
//! missing order is a race. What the sanitizer does not see is `rep movsq`, by which long runs are copied: there the
//! bodies look whether what was copied is whole.
//!
//! None asserts [`late_waits`](mp_sys::futex::late_waits): a change that comes between the end of a slice and the
//! sleeper's next look counts as late although nothing was lost, and a sleeper that waits for a CPU just then makes that
//! moment long.

mod data;
mod locks;
mod signals;

use mp_sys::testing::runner::Test;
use mp_sys::testing::spawner::Spawner;

pub(crate) fn tests<S: Spawner>() -> Vec<Test> {
    [data::tests::<S>(), locks::tests::<S>(), signals::tests::<S>()].concat()
}

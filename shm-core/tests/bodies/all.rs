//! Bodies that run twice: by threads under `ThreadSanitizer`, and by processes. See [`mp_sys::testing::spawner`].
//!
//! Where possible, a body protects a [`Plain`](mp_sys::testing::plain::Plain) word with the object that it tests, so that a
//! missing order is a race. The sanitizer does not see `rep movsq`, which copies long runs; there the bodies check that the
//! copies are whole.
//!
//! None asserts [`late_waits`](mp_sys::futex::late_waits): a change between the end of a slice and the sleeper's next look
//! counts as late although nothing was lost, and that moment is long if the sleeper has to wait for a CPU.

mod data;
mod locks;
mod signals;

use mp_sys::testing::runner::Test;
use mp_sys::testing::spawner::Spawner;

pub(crate) fn tests<S: Spawner>() -> Vec<Test> {
    [data::tests::<S>(), locks::tests::<S>(), signals::tests::<S>()].concat()
}

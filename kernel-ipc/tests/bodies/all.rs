//! Test bodies that run twice: by threads under `ThreadSanitizer`, and by processes. See [`mp_sys::testing::spawner`].
//!
//! [`Plain`](mp_sys::testing::plain::Plain) words accompany the queues, so that a missing order is a race. Pipes have no
//! such words: the kernel orders what goes through a socket, by system calls that the sanitizer does not see. The sanitizer
//! does not see `rep movsq` either, which copies long items. Wrong copies show in the items.
//!
//! No body asserts [`late_waits`](mp_sys::futex::late_waits): a change between the end of a slice and the sleeper's next
//! look may count as late although no wake-up was lost.

mod pipes;
mod queues;
mod tasks;

use mp_sys::testing::runner::Test;
use mp_sys::testing::spawner::Spawner;

pub(crate) fn tests<S: Spawner>() -> Vec<Test> {
    [queues::tests::<S>(), tasks::tests::<S>(), pipes::tests::<S>()].concat()
}

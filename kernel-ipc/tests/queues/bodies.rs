//! The bodies of `tests/bodies`, run by processes.

#[path = "../bodies/all.rs"]
mod all;

use mp_sys::testing::runner::Test;
use mp_sys::testing::spawner::Processes;

pub(crate) fn tests() -> Vec<Test> {
    all::tests::<Processes>()
}

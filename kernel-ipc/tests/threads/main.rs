//! The bodies of `tests/bodies`, run by threads over one mapping. `cargo xtask tsan` runs them under `ThreadSanitizer`.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "../bodies/all.rs"]
mod bodies;

use mp_sys::testing::spawner::Threads;

fn main() -> std::process::ExitCode {
    mp_sys::testing::runner::main(&bodies::tests::<Threads>(), || {})
}

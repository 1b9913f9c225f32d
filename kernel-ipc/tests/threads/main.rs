//! The bodies of `tests/bodies` in threads over one mapping: what `cargo xtask tsan` runs under `ThreadSanitizer`.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "../bodies/all.rs"]
mod bodies;

use mp_sys::testing::spawner::Threads;

fn main() -> std::process::ExitCode {
    mp_sys::testing::runner::main(&bodies::tests::<Threads>(), || {})
}

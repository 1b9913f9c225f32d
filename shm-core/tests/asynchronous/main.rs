//! The async forms, in runtimes of both kinds and between processes.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod event;
mod helpers;

fn main() -> std::process::ExitCode {
    mp_sys::testing::runner::main(event::TESTS, shm_core::release_unused_memory)
}

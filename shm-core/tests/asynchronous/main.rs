//! The async forms, in runtimes of both kinds and between processes.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod condition;
mod event;
mod helpers;
mod runtimes;
mod semaphore;

fn main() -> std::process::ExitCode {
    let tests = [condition::TESTS, event::TESTS, runtimes::TESTS, semaphore::TESTS].concat();
    mp_sys::testing::runner::main(&tests, shm_core::release_unused_memory)
}

//! The tiers together: objects in shared memory and proxies that travel in messages and tasks, between real processes.
//!
//! Each process receives what it uses in a message: it was forked, or started as a program, before the object was made.
//! Each crate tests its own objects; these tests find what only all of them together can get wrong.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod every;
mod interrupted;
mod kills;
mod programs;
mod proxies;
mod shown;
mod tasks;
mod together;
mod travel;

use std::process::ExitCode;

use mp_sys::testing::runner;

fn main() -> ExitCode {
    // This comes before the runner, which runs each test in its own process: a program must be killed as it is.
    if programs::is_program() {
        return ExitCode::SUCCESS;
    }
    let travel = travel::tests();
    let tests = [
        every::TESTS,
        together::TESTS,
        programs::TESTS,
        tasks::TESTS,
        proxies::TESTS,
        kills::TESTS,
        interrupted::TESTS,
        shown::TESTS,
        &travel,
    ]
    .concat();
    runner::main(&tests, mp::release_unused_memory)
}

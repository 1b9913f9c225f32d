//! `mp::fork` and `mp::Child` with real processes.
#![expect(clippy::unwrap_used, clippy::panic_in_result_fn, reason = "a test fails by a panic")]

mod ends;
mod handles;
mod results;
mod starts;
mod travel;
mod waits;

fn main() -> std::process::ExitCode {
    let tests =
        [ends::TESTS, handles::TESTS, results::TESTS, starts::TESTS, travel::TESTS, waits::TESTS].concat();
    mp_sys::testing::runner::main(&tests, mp::release_unused_memory)
}

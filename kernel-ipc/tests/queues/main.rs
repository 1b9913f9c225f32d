//! Tests of queues, in one process and between processes.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod between;
mod bodies;
mod dead;
mod forged;
mod joinable;
mod limits;
mod model;
mod polled;
mod single;
mod travel;

fn main() -> std::process::ExitCode {
    let tests = [
        joinable::TESTS,
        dead::TESTS,
        single::TESTS,
        limits::TESTS,
        model::TESTS,
        polled::TESTS,
        between::TESTS,
        &bodies::tests(),
        travel::TESTS,
        forged::TESTS,
    ]
    .concat();
    mp_sys::testing::runner::main(&tests, || {})
}

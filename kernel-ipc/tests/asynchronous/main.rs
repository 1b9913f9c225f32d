//! Operations in tasks of a tokio runtime, in one process and between processes.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod crossed;
mod dropped;
mod leases;
mod pipes;
mod queues;
mod streams;
mod stress;

fn main() -> std::process::ExitCode {
    let tests =
        [crossed::TESTS, leases::TESTS, pipes::TESTS, queues::TESTS, streams::TESTS, stress::TESTS].concat();
    mp_sys::testing::runner::main(&tests, || {})
}

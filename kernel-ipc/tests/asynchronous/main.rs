//! Operations in tasks of a tokio runtime, in one process and between processes.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod dropped;
mod pipes;

fn main() -> std::process::ExitCode {
    let tests = [pipes::TESTS].concat();
    mp_sys::testing::runner::main(&tests, || {})
}

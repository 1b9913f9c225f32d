//! A manager in the memory of a process, and what a forked child can do with it: nothing.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod in_process;

fn main() -> std::process::ExitCode {
    mp_sys::testing::runner::main(in_process::TESTS, || {})
}

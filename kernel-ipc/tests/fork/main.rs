//! Pipes between real processes, some of which are killed.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(clippy::print_stdout, reason = "a test prints its seed")]

mod ends;
mod kills;
mod names;
mod shortage;
mod telling;

fn main() -> std::process::ExitCode {
    let tests = [ends::TESTS, kills::TESTS, names::TESTS, shortage::TESTS, telling::TESTS].concat();
    mp_sys::testing::runner::main(&tests, || {})
}

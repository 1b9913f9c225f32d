//! Managers between real processes, which are killed: `Manager::start` and all that its promises are about.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod ends;
mod fixture;
mod frozen;
mod in_process;
mod inherited;
mod locks;
mod meeting;
mod queues;

fn main() -> std::process::ExitCode {
    let tests = [
        ends::TESTS,
        frozen::TESTS,
        in_process::TESTS,
        inherited::TESTS,
        locks::TESTS,
        meeting::TESTS,
        queues::TESTS,
    ]
    .concat();
    mp_sys::testing::runner::main(&tests, || {})
}

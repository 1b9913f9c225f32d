//! Managers between real processes that are killed: `Manager::start` and all its promises.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(clippy::print_stdout, reason = "a test prints its seed and its measurements")]

mod activated;
mod bequests;
mod descriptors;
mod ends;
mod fixture;
mod folders;
mod frozen;
mod in_process;
mod inherited;
mod keeping;
mod last_save;
mod leases;
mod locks;
mod meeting;
mod memory;
mod mixed;
mod order;
mod outliving;
mod patience;
mod plain;
#[cfg(feature = "crash-points")]
mod points;
mod queues;
mod refused;
#[cfg(feature = "tcp")]
mod remote;
mod reports;
mod saving;
mod scale;
mod snapshots;
mod tasks;
mod unread;

fn main() -> std::process::ExitCode {
    if let Some(code) = activated::serve() {
        return code;
    }
    let tests = [
        activated::TESTS,
        bequests::TESTS,
        descriptors::TESTS,
        ends::TESTS,
        folders::TESTS,
        frozen::TESTS,
        in_process::TESTS,
        inherited::TESTS,
        keeping::TESTS,
        last_save::TESTS,
        leases::TESTS,
        locks::TESTS,
        meeting::TESTS,
        memory::TESTS,
        order::TESTS,
        outliving::TESTS,
        patience::TESTS,
        mixed::TESTS,
        #[cfg(feature = "crash-points")]
        points::TESTS,
        queues::TESTS,
        refused::TESTS,
        reports::TESTS,
        #[cfg(feature = "tcp")]
        remote::TESTS,
        saving::TESTS,
        scale::TESTS,
        snapshots::TESTS,
        tasks::TESTS,
        unread::TESTS,
    ];
    mp_sys::testing::runner::main(&tests.concat(), || {})
}

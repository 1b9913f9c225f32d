//! Histories of objects, recorded while processes use them and are killed, and checked for linearizability: there must
//! be one order of all operations, each between its call and its return, in which a simple object would have returned
//! the same answers.
//!
//! The operation of a killed process happened at some moment after its call, or not at all.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod managers;
mod queues;
mod record;
mod redis;
mod specs;

fn main() -> std::process::ExitCode {
    mp_sys::testing::runner::main(
        &[queues::TESTS, managers::TESTS, redis::TESTS].concat(),
        mp::release_unused_memory,
    )
}

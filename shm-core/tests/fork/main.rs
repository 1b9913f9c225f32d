//! The shared-memory objects between real processes.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(clippy::mem_forget, reason = "a forgotten guard is one of the cases")]

mod arena;
mod barrier;
mod barrier_action;
mod bodies;
mod clones;
mod condition;
mod condition_guards;
mod first_look;
mod gaps;
mod inherited;
mod kills;
mod limits;
mod named;
mod named_listed;
mod named_staying;
mod named_together;
mod named_waiting;
mod odd;
mod rwlock;
mod sharing;
mod sync;
mod telling;

fn main() -> std::process::ExitCode {
    let tests = [
        arena::TESTS,
        barrier::TESTS,
        barrier_action::TESTS,
        &bodies::tests(),
        clones::TESTS,
        condition::TESTS,
        condition_guards::TESTS,
        first_look::TESTS,
        gaps::TESTS,
        inherited::TESTS,
        kills::TESTS,
        limits::TESTS,
        named::TESTS,
        named_listed::TESTS,
        named_staying::TESTS,
        named_together::TESTS,
        named_waiting::TESTS,
        odd::clocks::TESTS,
        odd::descriptors::TESTS,
        odd::exec::TESTS,
        odd::frozen::TESTS,
        odd::namespaces::TESTS,
        odd::no_proc::TESTS,
        odd::rwlock::TESTS,
        odd::unmapping::TESTS,
        rwlock::TESTS,
        sharing::TESTS,
        sync::TESTS,
        telling::TESTS,
    ]
    .concat();
    mp_sys::testing::runner::main(&tests, shm_core::release_unused_memory)
}

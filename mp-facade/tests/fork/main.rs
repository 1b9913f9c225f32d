//! `mp::fork` and `mp::Child` with real processes.
#![expect(clippy::unwrap_used, clippy::panic_in_result_fn, reason = "a test fails by a panic")]

#[cfg(feature = "tokio")]
mod asynchronous;
mod clones;
mod crashes;
mod ends;
mod executing;
mod forwards;
mod groups;
mod handles;
mod jobs;
mod limits;
mod pool_faults;
mod pools;
mod processes;
mod refusals;
mod reloads;
mod results;
mod scopes;
mod shortages;
mod signals;
mod standard;
mod starts;
mod stopped;
mod stops;
mod terminal;
mod ties;
mod travel;
mod waits;

/// Every way to start a process.
const METHODS: [mp::Method; 3] = [mp::Method::Fork, mp::Method::Spawn, mp::Method::ForkServer];

fn main() -> std::process::ExitCode {
    let tests = [
        #[cfg(feature = "tokio")]
        asynchronous::TESTS,
        clones::TESTS,
        crashes::TESTS,
        ends::TESTS,
        executing::TESTS,
        forwards::TESTS,
        groups::TESTS,
        handles::TESTS,
        jobs::TESTS,
        limits::TESTS,
        pool_faults::TESTS,
        pools::TESTS,
        processes::TESTS,
        refusals::TESTS,
        reloads::TESTS,
        results::TESTS,
        scopes::TESTS,
        shortages::TESTS,
        signals::TESTS,
        standard::TESTS,
        starts::TESTS,
        stopped::TESTS,
        stops::TESTS,
        terminal::TESTS,
        ties::TESTS,
        travel::TESTS,
        waits::TESTS,
    ]
    .concat();
    mp_sys::testing::runner::main(&tests, mp::release_unused_memory)
}

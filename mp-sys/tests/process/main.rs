//! Fork, identity, locks and waiting, between real processes.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(clippy::mem_forget, reason = "a forgotten guard is one of the cases")]
#![expect(clippy::print_stdout, reason = "a test says what it could not try")]

mod adaptive;
#[cfg(feature = "tokio")]
#[expect(unsafe_code, reason = "ForkAnyway is unsafe to make")]
mod asynchronous;
#[expect(unsafe_code, reason = "ForkAnyway is unsafe to make")]
mod children;
mod endpoints;
#[expect(unsafe_code, reason = "ForkAnyway is unsafe to make")]
mod fork_awareness;
#[expect(unsafe_code, reason = "mutexes of the C library")]
mod lock_modes;
#[expect(unsafe_code, reason = "ForkAnyway is unsafe to make")]
mod locks;
mod memory;
mod reexec;
mod signals;
#[expect(unsafe_code, reason = "ForkAnyway is unsafe to make")]
mod streams;

fn main() -> std::process::ExitCode {
    let tests = [
        adaptive::TESTS,
        #[cfg(feature = "tokio")]
        asynchronous::TESTS,
        children::TESTS,
        endpoints::TESTS,
        fork_awareness::TESTS,
        lock_modes::TESTS,
        locks::TESTS,
        memory::TESTS,
        signals::TESTS,
        streams::TESTS,
        reexec::TESTS,
    ]
    .concat();
    mp_sys::testing::runner::main(&tests, || {})
}

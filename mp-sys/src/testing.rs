//! Helpers for tests of processes (feature `testing`): a runner for tests that fork, children with deadlines, leak
//! counts.
//!
//! libtest runs every test on a second thread, and `fork` refuses while there is one. So a test binary that forks is
//! declared with `harness = false`. Each of its modules lists its tests with [`tests!`], and `main` passes the lists to
//! [`runner::main`]. The runner gives each test a process of its own and a deadline, and fails it if it leaves
//! descriptors, mappings, children or names behind.
//!
//! Nothing here sleeps to synchronise: a wait ends by an event, or by its deadline with a panic that names what the
//! test waited for.

use std::fmt;
use std::time::Duration;

use rustix::process::Signal;

use crate::child::{ChildProcess, Ended, ForkAnyway, adopt, fork, fork_anyway, run_child};
use crate::deadline::{Deadline, now_nanos};

mod early_thread;
mod element;
pub mod hosts;
mod interrupts;
pub mod leaks;
pub mod mounts;
mod mutator;
mod namespace;
pub mod plain;
pub mod runner;
mod scheduling;
mod seccomp;
pub mod spawner;

pub use self::early_thread::thread_before_main_from_now_on;
pub use self::element::Checked;
pub use self::interrupts::{handle_interrupts, interrupts, tick};
pub use self::mutator::Mutator;
pub use self::namespace::{enter_user_namespace, spawn_in_new_pid_namespace, spawn_with_clocks_ahead};
pub use self::runner::skip;
pub use self::scheduling::never_interrupt_others;
pub use self::seccomp::{
    Argument, FALLOCATE, FCNTL, FSYNC, MADVISE, SENDTO, forbid_exec, forbid_futex_waitv,
    forbid_linking_descriptors, forbid_robust_list, forbid_unshare, forbid_wiping, refuse,
};
pub use crate::{bodies, tests};

/// The longest that a test waits for any event.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long a test waits for a child that works for long.
pub const PATIENCE_WITH_WORK: Duration = Duration::from_secs(300);

/// Runs `body` in a forked child that exits with 0, or with 101 if `body` panics.
///
/// # Panics
/// If there is no child.
pub fn spawn(body: impl FnOnce()) -> ChildProcess {
    let run = || {
        body();
        0
    };
    fork(run).expect("a test forks its child")
}

/// Forks as [`spawn`] does while the caller holds guards, which the child may drop but not use.
///
/// # Panics
/// If there is no child, or if the test has other threads.
pub fn spawn_holding(body: impl FnOnce()) -> ChildProcess {
    let run = || {
        body();
        0
    };
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    assert_eq!(threads, 1, "only a test with one thread forks");
    // SAFETY: there is one thread; the rule above forbids the use of an inherited guard, except in tests of that very
    // case.
    let responsible = unsafe { ForkAnyway::new() };
    fork_anyway(responsible, run).expect("a test forks its child")
}

/// Forks as [`spawn`] does while other threads of the process run, whatever they are doing.
///
/// # Panics
/// If there is no child.
pub fn spawn_beside_threads(body: impl FnOnce()) -> ChildProcess {
    let run = || {
        body();
        0
    };
    // SAFETY: the caller holds no guard of shared memory, and the C library repairs its allocator. Such a test finds
    // out whether the objects that `body` uses need a lock that another thread may have held: if one does, the child
    // waits for it until the test's deadline.
    let responsible = unsafe { ForkAnyway::new() };
    fork_anyway(responsible, run).expect("a test forks its child")
}

/// Forks as other crates do, by the bare fork(2), which returns in both processes: it returns the child, or `None` in
/// the child, where the caller must end with [`leave`].
///
/// # Panics
/// If there is no child, or if the test has other threads.
#[must_use]
pub fn bare_fork() -> Option<ChildProcess> {
    assert_eq!(std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count), 1, "one thread");
    // SAFETY: there is one thread. The child holds none of the thread's locks, which is what the test is about.
    match unsafe { libc::fork() } {
        0 => None,
        child => Some(adopt(child).expect("a test forks its child")),
    }
}

/// Forks as [`bare_fork`] does, but by the bare clone(2): the C library does not notice it, and runs no handlers.
///
/// # Panics
/// As [`bare_fork`] does.
#[must_use]
pub fn bare_clone() -> Option<ChildProcess> {
    assert_eq!(std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count), 1, "one thread");
    // SAFETY: without flags, the child shares nothing with the caller, and goes on with a copy of its stack. It is for
    // tests of what goes wrong there.
    match unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } {
        0 => None,
        child => {
            let child = i32::try_from(child).expect("a process id");
            Some(adopt(child).expect("a test forks its child"))
        }
    }
}

/// Ends a child of [`bare_fork`] or [`bare_clone`], with code 0 if `is_well`.
pub fn leave(is_well: bool) -> ! {
    run_child(|| i32::from(!is_well), false)
}

/// Handles signals as in a program that was started from a terminal. A shell that starts tests in the background
/// ignores some signals, and an exec passes that on.
pub(crate) fn default_signals() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGCHLD] {
        // SAFETY: the default installs no handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Identifies processes by their start time from now on, as on a kernel before Linux 6.9, in this process and its
/// children. A test calls it first: the caller's own stamp is of that kind only if nothing has asked for it before.
pub fn identify_by_start_time() {
    crate::identity::identify_by_start_time();
}

/// Closes stdin, stdout and stderr, as old daemons do. What the process prints after that is lost.
pub fn close_standard() {
    (0..crate::descriptors::FIRST).for_each(close_one_of_standard);
}

/// Closes stdout alone. Everything that the process prints from now on is lost.
pub fn close_stdout() {
    close_one_of_standard(libc::STDOUT_FILENO);
}

fn close_one_of_standard(number: i32) {
    assert!((0..crate::descriptors::FIRST).contains(&number));
    // SAFETY: nothing owns the three: `std`'s handles of them are numbers, which may be closed.
    unsafe { libc::close(number) };
}

/// Blocks SIGTERM for the calling thread, as programs do that handle signals in another thread.
///
/// # Panics
/// Never: the number is that of a signal.
pub fn block_termination() {
    crate::signals::block(libc::SIGTERM).expect("SIGTERM can be blocked");
}

/// Ignores SIGINT, as programs do that are started in the background.
pub fn ignore_interrupt() {
    // SAFETY: ignoring a signal installs no handler.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
}

/// Lets the kernel reap children by itself, as daemons ask for by ignoring SIGCHLD.
pub fn ignore_sigchld() {
    // SAFETY: ignoring a signal installs no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Does nothing until the process is killed.
pub fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

/// Waits until a child has ended; returns how.
///
/// # Panics
/// If it still runs after [`PATIENCE`]: it is killed first.
pub fn ended(child: &ChildProcess) -> Ended {
    ended_within(child, PATIENCE)
}

fn ended_within(child: &ChildProcess, patience: Duration) -> Ended {
    let ended = child.wait(Deadline::after(patience)).expect("a test waits for its own child");
    ended.unwrap_or_else(|| {
        kill(child);
        panic!("child {} still ran after {patience:?}", child.id());
    })
}

/// Waits until a child has ended by itself, without a panic.
///
/// # Panics
/// If it ended otherwise, or not within [`PATIENCE`].
pub fn succeeded(child: &ChildProcess) {
    assert_eq!(ended(child), Ended::Exited(0), "how child {} ended", child.id());
}

/// As [`succeeded`], for a child that works for long: what takes seconds on an idle machine takes minutes in a debug build on a busy
/// one.
///
/// # Panics
/// If it ended otherwise, or not within [`PATIENCE_WITH_WORK`].
pub fn succeeded_with_work(child: &ChildProcess) {
    assert_eq!(ended_within(child, PATIENCE_WITH_WORK), Ended::Exited(0), "how child {} ended", child.id());
}

/// Kills a child by SIGKILL and waits until it is gone.
///
/// # Panics
/// If the kernel returns an error.
pub fn kill(child: &ChildProcess) {
    child.signal(Signal::KILL.as_raw()).expect("a test signals its own child");
    child.wait(Deadline::after(PATIENCE)).expect("a test waits for its own child");
}

/// Returns `true` if a process, or a thread (`self/task/4711`), is in a state of proc(5): `S` for asleep, `T` for stopped, `Z`
/// for a zombie. One that does not exist is in none.
#[must_use]
pub fn is_in_state(process: impl fmt::Display, state: char) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with(state))
}

/// Waits until `condition` holds, and checks it again and again.
///
/// # Panics
/// If it does not hold within [`PATIENCE`].
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Deadline::after(PATIENCE);
    while !condition() {
        assert!(!deadline.has_passed(), "waited {PATIENCE:?} until {what}");
        std::thread::yield_now();
    }
}

/// Late waits that may happen to a process by chance: on a machine with more runnable threads than CPUs, the process
/// that should wake it was stopped between its change and the wake-up, and the slice ended just then.
const LATE_BY_CHANCE: u64 = 3;

/// Checks that the waits of this process ended because another process woke it, and not because a slice ended.
///
/// # Panics
/// If more waits were late than chance explains; a protocol that loses wake-ups has many.
pub fn assert_woken() {
    let late = crate::futex::late_waits();
    assert!(late <= LATE_BY_CHANCE, "{late} waits ended by their slice though the condition held");
}

/// A small generator of random moments and choices. `MP_SEED` repeats a run.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Makes one with the seed in `MP_SEED`, or with one from the clock.
    #[must_use]
    pub fn new() -> Self {
        let seed = std::env::var("MP_SEED").ok().and_then(|text| text.parse().ok());
        Self::seeded(seed.unwrap_or_else(now_nanos))
    }

    /// Makes one with this seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        // Xorshift stays at 0 for ever once it is there.
        Self(seed.max(1))
    }

    /// The seed that repeats the run from here on.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.0
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.checked_rem(bound).unwrap_or(0)
    }

    /// Lets up to `bound` nanoseconds pass in a busy loop.
    pub fn pause(&mut self, bound: u64) {
        let end = now_nanos().saturating_add(self.below(bound));
        while now_nanos() < end {
            std::hint::spin_loop();
        }
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

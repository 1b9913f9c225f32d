//! Waits that signals interrupt: each wait of every tier ends with its timeout, neither earlier nor never.
//!
//! A sleep that a signal interrupts must go on with the time that is left. A sleep that starts again with its full
//! length never ends under a timer that ticks faster than the sleep is long, such as a profiler's. So *every* method
//! with a timeout runs under such a timer, with and without `SA_RESTART`, and while the process is stopped and
//! continued in turn. A new method that is missing here fails [`every_method_with_a_timeout_has_a_case`].

mod kernel;
mod managers;
mod memory;
mod processes;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use mp::Event;
use mp_sys::child::{ChildProcess, Ended};
use mp_sys::deadline::{Deadline, now_nanos};
use mp_sys::testing::{PATIENCE, eventually, kill, spawn, tests, tick};

tests! {
    every_method_with_a_timeout_has_a_case,
    waits_end_under_a_timer,
    waits_end_under_a_timer_that_lets_calls_restart,
    waits_end_while_the_process_is_stopped_and_continued,
    waiters_find_the_dead_under_a_timer,
}

/// Longer than a slice, and than several ticks.
const TIMEOUT: Duration = Duration::from_millis(90);
/// Shorter than a slice.
const TICK: Duration = Duration::from_millis(5);
/// SIGSTOP and SIGCONT have the same numbers on all architectures except three old ones.
const STOP: i32 = 19;
const CONTINUE: i32 = 18;

/// One method with a timeout, and a wait with it.
struct Case {
    /// The source file that contains the method.
    file: &'static str,
    method: &'static str,
    /// Runs in its own process.
    run: fn(Storm),
}

/// Lists all cases.
fn cases() -> Vec<Case> {
    [memory::cases(), kernel::cases(), processes::cases(), managers::cases()].into_iter().flatten().collect()
}

/// The signals that a case must endure.
#[derive(Clone, Copy)]
enum Storm {
    Timer {
        restarts: bool,
    },
    /// These come from outside.
    Stops,
}

impl Storm {
    fn begin(self) {
        if let Self::Timer { restarts } = self {
            tick(TICK, restarts);
        }
    }

    /// Checks that `wait` reports a timeout, and not before the time is over.
    fn outlasts(self, wait: impl FnOnce(Duration) -> bool) {
        self.begin();
        let started = now_nanos();
        assert!(wait(TIMEOUT), "it ends with its timeout");
        let waited = Duration::from_nanos(now_nanos() - started);
        assert!(waited >= TIMEOUT, "not before: {waited:?}");
    }

    /// Checks that `wait` ends as it does without signals.
    fn ends(self, wait: impl FnOnce() -> bool) {
        self.begin();
        assert!(wait(), "it ends as without signals");
    }
}

fn waits_end_under_a_timer() {
    all_end(Storm::Timer { restarts: false }, |_, _| {});
}

fn waits_end_under_a_timer_that_lets_calls_restart() {
    all_end(Storm::Timer { restarts: true }, |_, _| {});
}

fn waits_end_while_the_process_is_stopped_and_continued() {
    all_end(Storm::Stops, |child, turn| {
        let signal = if turn.is_multiple_of(2) { STOP } else { CONTINUE };
        child.signal(signal).unwrap();
    });
}

/// Runs each case in its own process, all at the same time.
fn all_end(storm: Storm, disturb: impl Fn(&ChildProcess, u32)) {
    let cases = cases();
    let mut running: Vec<(&Case, ChildProcess)> =
        cases.iter().map(|case| (case, spawn(|| (case.run)(storm)))).collect();
    let mut failed = Vec::new();
    let deadline = Deadline::after(PATIENCE);
    for turn in 0.. {
        let Some((_, first)) = running.first() else { break };
        // This wait sets the pace of the turns.
        first.wait(Deadline::after(TICK)).unwrap();
        running.retain(|(case, child)| {
            let ended = child.wait(Deadline::after(Duration::ZERO)).unwrap();
            match ended {
                None if !deadline.has_passed() => {
                    disturb(child, turn);
                    return true;
                }
                None => {
                    kill(child);
                    failed.push(format!("{} {} never ended", case.file, case.method));
                }
                Some(Ended::Exited(0)) => {}
                Some(ended) => failed.push(format!("{} {}: {ended:?}", case.file, case.method)),
            }
            false
        });
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Starts a process that runs `body` under a timer; returns once that process sleeps.
fn asleep_under_a_timer(body: impl FnOnce()) -> ChildProcess {
    let ready = Event::new().unwrap();
    let child = spawn(|| {
        tick(TICK, false);
        ready.set();
        body();
    });
    assert!(ready.wait_timeout(PATIENCE));
    let stat = format!("/proc/{}/stat", child.id());
    let sleeps = || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") S "));
    eventually("it sleeps", sleeps);
    child
}

/// The crates whose public methods have timeouts.
const CRATES: [&str; 4] = ["shm-core", "kernel-ipc", "mp-facade", "manager-rt"];

fn every_method_with_a_timeout_has_a_case() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut written = BTreeSet::new();
    for name in CRATES {
        collect(root, &root.join(name).join("src"), &mut written);
    }
    let here: BTreeSet<_> =
        cases().iter().map(|case| (case.file.to_owned(), case.method.to_owned())).collect();
    assert!(written.len() > 40, "too few were found: {written:?}");
    let missing: Vec<_> = written.difference(&here).collect();
    assert!(missing.is_empty(), "each needs a case: {missing:#?}");
    let stale: Vec<_> = here.difference(&written).collect();
    assert!(stale.is_empty(), "no longer in the sources: {stale:#?}");
}

/// Collects the methods in all files under `folder`.
fn collect(root: &Path, folder: &Path, found: &mut BTreeSet<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let file = path.strip_prefix(root).unwrap().to_str().unwrap();
            found.extend(timeouts_in(&text).map(|method| (file.to_owned(), method.to_owned())));
        }
    }
}

/// Returns the public functions that take a timeout, and each `join`, including those in macros.
fn timeouts_in(text: &str) -> impl Iterator<Item = &str> {
    text.split("pub fn ").skip(1).filter_map(|from| {
        let signature = from.split(['{', ';']).next()?;
        let name = signature.split(['(', '<']).next()?.trim();
        (name == "join" || signature.contains("timeout: Duration")).then_some(name)
    })
}

/// A waiting process looks for the dead when a slice ends. Slices end although signals cut them short.
fn waiters_find_the_dead_under_a_timer() {
    memory::a_holder_dies();
    memory::a_party_dies();
    memory::a_notified_waiter_dies();
    kernel::a_worker_dies();
}

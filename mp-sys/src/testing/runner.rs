//! The test runner for binaries with `harness = false`.
//!
//! It understands libtest's command line as far as `cargo test` and `cargo nextest` use it: `--list --format terse`,
//! name filters, `--exact`, `--skip`. Each test runs in a process of its own, which leads a process group. So the
//! runner can end everything that a test forked.
//!
//! A test that cannot run here calls [`skip`], which prints the reason. It counts as neither passed nor failed, and the
//! summary lists it.

use std::fmt::Display;
use std::io::Write;
use std::panic::{catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, getpid};
use rustix::process::{Signal, WaitIdOptions, kill_process_group, set_child_subreaper, setpgid, waitid};

use crate::child::{Ended, fork};
use crate::deadline::Deadline;
use crate::testing::leaks::Snapshot;

/// The longest that one test may take in total.
pub const TEST_TIME_MAX: Duration = Duration::from_secs(240);

/// A test of a binary with `harness = false`.
#[derive(Debug, Clone, Copy)]
pub struct Test {
    /// The name of the test.
    pub name: &'static str,
    /// The body of the test, which fails by a panic.
    pub run: fn(),
}

/// Why a test did not run.
struct Skipped(String);

/// Ends the calling test as skipped, and prints why. Only for the test's own process, not for its children.
pub fn skip(why: impl Into<String>) -> ! {
    // This is not `panic!`, because the hook would print a message and a backtrace.
    resume_unwind(Box::new(Skipped(why.into())))
}

/// How a test ended, if it did not fail.
enum Verdict {
    Passed,
    /// The test has printed why.
    Skipped,
}

/// Lists the named functions in the constant `TESTS`, for [`main`].
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[$crate::testing::runner::Test] = &[$($crate::testing::runner::Test {
            name: stringify!($name),
            run: $name,
        }),*];
    };
}

/// What the command line requests.
#[derive(Debug, Default)]
struct Request {
    list: bool,
    exact: bool,
    ignored_only: bool,
    filters: Vec<String>,
    skips: Vec<String>,
}

impl Request {
    fn parse(arguments: impl Iterator<Item = String>) -> Self {
        let mut request = Self::default();
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => request.list = true,
                "--exact" => request.exact = true,
                "--ignored" => request.ignored_only = true,
                "--skip" => request.skips.extend(arguments.next()),
                // Options with a value that change nothing here.
                "--format" | "--color" | "--test-threads" | "--logfile" | "-Z" => drop(arguments.next()),
                option if option.starts_with('-') => {}
                filter => request.filters.push(filter.to_owned()),
            }
        }
        request
    }

    fn wants(&self, name: &str) -> bool {
        let matches =
            |pattern: &String| if self.exact { name == pattern } else { name.contains(pattern.as_str()) };
        // No test is marked as ignored, so a run of ignored tests is empty.
        !self.ignored_only
            && (self.filters.is_empty() || self.filters.iter().any(matches))
            && !self.skips.iter().any(matches)
    }
}

/// Runs the tests that the command line requests. After each test, and before its leaks are counted, `release` frees
/// what a library keeps for later.
#[expect(clippy::print_stdout, reason = "a test runner's output")]
#[must_use]
pub fn main(tests: &[Test], release: fn()) -> ExitCode {
    let request = Request::parse(std::env::args().skip(1));
    let wanted: Vec<&Test> = tests.iter().filter(|test| request.wants(test.name)).collect();
    if request.list {
        wanted.iter().for_each(|test| println!("{}: test", test.name));
        return ExitCode::SUCCESS;
    }
    super::default_signals();
    println!("\nrunning {} tests", wanted.len());
    let started = Instant::now();
    let before = Snapshot::take();
    let (mut failed, mut skipped): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for test in &wanted {
        print!("test {} ... ", test.name);
        // If stdout cannot be written, the report is lost, but not the verdict.
        drop(std::io::stdout().flush());
        match run_alone(test, release) {
            Ok(Verdict::Passed) => println!("ok"),
            Ok(Verdict::Skipped) => skipped.push(test.name),
            Err(reason) => {
                println!("FAILED ({reason})");
                failed.push(test.name);
            }
        }
    }
    if let Some(leaks) = before.leaked_since() {
        println!("test binary FAILED: {leaks}");
        failed.push("(the whole binary)");
    }
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    if !failed.is_empty() {
        println!("\nfailures:\n    {}", failed.join("\n    "));
    }
    if !skipped.is_empty() {
        println!("\nskipped, for the reasons above:\n    {}", skipped.join("\n    "));
    }
    println!(
        "\ntest result: {verdict}. {} passed; {} failed; {} ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        wanted.len().saturating_sub(failed.len()).saturating_sub(skipped.len()),
        failed.len(),
        skipped.len(),
        tests.len().saturating_sub(wanted.len()),
        started.elapsed().as_secs_f64(),
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one test in a child, and ends whatever it leaves running.
fn run_alone(test: &Test, release: fn()) -> Result<Verdict, String> {
    // Orphans of the test become children of this process, so that it can find them.
    set_child_subreaper(Some(getpid())).map_err(|error| format!("no subreaper: {error}"))?;
    let child = fork(|| {
        // This fails only if the parent was faster.
        let _group = setpgid(None, None);
        let before = Snapshot::take();
        let outcome = catch_unwind(test.run);
        release();
        match (outcome, before.leaked_since()) {
            (Err(panic), _) => match panic.downcast::<Skipped>() {
                Ok(skipped) => report(SKIPPED, &format!("SKIPPED: {}", skipped.0)),
                Err(panic) => resume_unwind(panic),
            },
            (Ok(()), Some(leaks)) => report(LEAKED, &leaks),
            (Ok(()), None) => 0,
        }
    })
    .map_err(|error| error.to_string())?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("no process group")?;
    // Parent and child both try, so that the group exists before anything could have to end it.
    let _group = setpgid(Some(group), None);
    let ended = child.wait(Deadline::after(TEST_TIME_MAX)).map_err(|error| error.to_string())?;
    let left = end_group(group);
    match ended {
        None => Err(format!("still ran after {TEST_TIME_MAX:?}")),
        Some(Ended::Exited(0)) if left == 0 => Ok(Verdict::Passed),
        Some(Ended::Exited(SKIPPED)) if left == 0 => Ok(Verdict::Skipped),
        Some(Ended::Exited(0 | SKIPPED)) => Err(format!("left {left} processes")),
        Some(Ended::Exited(LEAKED)) => Err("leaked".to_owned()),
        Some(Ended::Exited(101)) => Err("panicked".to_owned()),
        Some(other) => Err(format!("{other:?}")),
    }
}

/// The exit code of a test that passed but left something behind.
const LEAKED: i32 = 102;
/// The exit code of a test that did not run.
const SKIPPED: i32 = 103;

#[expect(clippy::print_stdout, reason = "a test runner's output")]
fn report(code: i32, what: &impl Display) -> i32 {
    println!("{what}");
    code
}

/// Kills what is left of a test's process group, reaps it, and counts it.
fn end_group(group: Pid) -> usize {
    if kill_process_group(group, Signal::KILL).is_err() {
        return 0;
    }
    let mut left = 0_usize;
    while let Ok(Some(_)) = waitid(WaitId::Pgid(Some(group)), WaitIdOptions::EXITED) {
        left = left.saturating_add(1);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Request {
        Request::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_command_lines_of_cargo_and_nextest() {
        assert!(request("--list --format terse").list);
        let one = request("--exact fork_twice --nocapture");
        assert!(one.wants("fork_twice") && !one.wants("fork_twice_more"));
        let some = request("fork --skip twice --test-threads 1");
        assert!(some.wants("fork_once") && !some.wants("fork_twice") && !some.wants("lock"));
        assert!(!request("--list --format terse --ignored").wants("fork_once"));
        assert!(request("").wants("anything"));
    }
}

//! `cargo xtask tsan`: runs the locks and queues in threads, under `ThreadSanitizer`.
//!
//! The sanitizer sees threads but not processes. So the test bodies in `tests/bodies` of the crates take a spawner, and
//! the test targets `threads` run them in threads over one mapping. This command builds them again, instrumented, into
//! a separate folder.
//!
//! It starts with a race on purpose: a sanitizer that does not report this race reports nothing, and the step fails. If
//! there is no sanitizer, the step passes and prints that it was skipped, and why.
//!
//! # What it does not see
//! - **`std`, which is not instrumented.** If it orders something out of line (`OnceLock`, a contended `Mutex`), the
//!   sanitizer misses that order, and code that relies on it looks like a race. No report is suppressed because of
//!   that. Instead, the spawner runs what a process does only once before it starts threads, and joins each of them,
//!   and the tests run one after the other. For the same reason `manager-rt` has no such target: its threads share
//!   their data behind a contended `Mutex`, which would look like races. Its protocols are between processes, over
//!   sockets.
//! - **Inline assembly**: the copies by `rep movsq` in `mp-sys`, and those that are made without the lock. The
//!   assertions of the bodies detect wrong copies. Under `cfg(mp_tsan)`, `mp-sys` reports to the sanitizer what such a
//!   copy acquires.
//! - **Fences.** The queues' doorbells use them only for wake-ups; no data is ordered by a fence alone.
//! - **System calls that do not go through the C library**: what the kernel orders by a socket or a futex.
//!
//! It understands pthread mutexes, including robust ones and timed locks on the monotonic clock.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::workspace::{Cargo, Output, Workspace};

/// Stable compilers offer the sanitizer behind this variable. Since they know the second flag, they refuse without it
/// to link instrumented code to code that is not instrumented; `std` comes precompiled.
const BOOTSTRAP: (&str, &str) = ("RUSTC_BOOTSTRAP", "1");
const FLAGS: &str = "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer --cfg=mp_tsan";
/// The packages that have a test target `threads`.
const PACKAGES: [&str; 2] = ["shm-core", "kernel-ipc"];
/// The race on purpose: an ignored test of `mp-sys`.
const RACE: &str = "testing::plain::tests::an_increment_without_a_lock_is_a_race";
/// What the runtime prints if the kernel placed the program where it cannot watch, and does not let it start again.
const CANNOT_START: &str = "FATAL: ThreadSanitizer";
const REPORT: &str = "WARNING: ThreadSanitizer: data race";

pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    Ok(if passes(workspace)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether nothing was reported, or there is no sanitizer.
pub(crate) fn passes(workspace: &Workspace) -> Result<bool> {
    let host = match available(workspace)? {
        Ok(host) => host,
        Err(why) => return Ok(skip(&why)),
    };
    let target = workspace.target();
    let race = race(&host, target);
    println!("==> tsan: {race}");
    let output = race.output(workspace)?;
    match judge_race(output.success, &output.text) {
        Race::Reported => println!("==> tsan: the race on purpose was reported"),
        Race::CannotStart(why) => return Ok(skip(&why)),
        Race::Missed => {
            println!("{}\n==> tsan: the race on purpose was not reported, so no race would be", output.text);
            return Ok(false);
        }
    }
    let threads = threads(&host, target);
    println!("==> tsan: {threads}");
    threads.succeeds(workspace)
}

fn skip(why: &str) -> bool {
    println!("tsan: skipped: {why}");
    true
}

/// Returns the target to build for, or why nothing can be built.
fn available(workspace: &Workspace) -> Result<Result<String, String>> {
    let version = rustc(workspace, &["-vV"])?;
    let Some(host) = version.text.lines().find_map(|line| line.strip_prefix("host: ")) else {
        return Ok(Err("this compiler does not name its target".to_owned()));
    };
    let mut arguments: Vec<&str> = FLAGS.split(' ').collect();
    arguments.extend(["--target", host, "--print", "target-libdir"]);
    let folder = rustc(workspace, &arguments)?;
    if !folder.success {
        let error = folder.text.lines().find(|line| line.starts_with("error")).unwrap_or(&folder.text);
        return Ok(Err(format!("this compiler does not accept `{FLAGS}`: {error}")));
    }
    let folder = Path::new(folder.text.trim());
    let names = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let names: Vec<String> =
        names.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    Ok(if has_runtime(&names) {
        Ok(host.to_owned())
    } else {
        Err(format!("the toolchain has no ThreadSanitizer runtime for {host}"))
    })
}

fn has_runtime(names: &[String]) -> bool {
    names.iter().any(|name| name.starts_with("librustc") && name.ends_with("_rt.tsan.a"))
}

fn rustc(workspace: &Workspace, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.current_dir(workspace.root()).args(arguments).env(BOOTSTRAP.0, BOOTSTRAP.1);
    Output::of(&mut command).context("rustc did not start")
}

/// What the race on purpose showed.
#[derive(Debug, PartialEq, Eq)]
enum Race {
    Reported,
    Missed,
    CannotStart(String),
}

/// Judges the output. The test itself passes; only the sanitizer can make it fail.
fn judge_race(passed: bool, text: &str) -> Race {
    if let Some(line) = text.lines().find(|line| line.contains(CANNOT_START)) {
        return Race::CannotStart(format!("the runtime cannot start here: {}", line.trim()));
    }
    if !passed && text.contains(REPORT) && text.contains("testing::plain") {
        Race::Reported
    } else {
        Race::Missed
    }
}

fn race(host: &str, target: &Path) -> Cargo {
    call("--package mp-sys --lib --features testing", host, target).arguments([
        "--",
        "--ignored",
        "--exact",
        RACE,
    ])
}

fn threads(host: &str, target: &Path) -> Cargo {
    let packages = PACKAGES.iter().flat_map(|package| ["--package", package]);
    call("--no-fail-fast --test threads", host, target).arguments(packages)
}

/// With `--target`, the flags apply to the program and not to build scripts and macros. In release builds, `std`'s
/// generic functions are compiled here and therefore instrumented, instead of taken from the precompiled `std`.
fn call(line: &str, host: &str, target: &Path) -> Cargo {
    Cargo::new("test --release --locked")
        .arguments(["--target", host, "--target-dir"])
        .arguments([target.join("tsan").to_string_lossy()])
        .arguments(line.split(' '))
        .variable(BOOTSTRAP.0, BOOTSTRAP.1)
        .variable("RUSTFLAGS", FLAGS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instrumented_programs_are_built_into_a_separate_folder() {
        let expected = "RUSTC_BOOTSTRAP=\"1\" RUSTFLAGS=\"-Zsanitizer=thread \
                        -Cunsafe-allow-abi-mismatch=sanitizer --cfg=mp_tsan\" cargo test --release --locked --target host \
                        --target-dir built/tsan --no-fail-fast --test threads --package shm-core --package kernel-ipc";
        assert_eq!(threads("host", Path::new("built")).to_string(), expected);
        assert!(race("host", Path::new("built")).to_string().ends_with(&format!("--ignored --exact {RACE}")));
    }

    #[test]
    fn a_race_that_is_not_reported_is_missed() {
        let report = format!("{REPORT} (pid=1)\n  #1 mp_sys::testing::plain::Plain::set");
        assert_eq!(judge_race(false, &report), Race::Reported);
        assert_eq!(judge_race(true, &report), Race::Missed, "the other tests fail only by their exit code");
        assert_eq!(judge_race(true, "test result: ok. 1 passed"), Race::Missed);
        assert_eq!(judge_race(true, "test result: ok. 0 passed; 1 filtered out"), Race::Missed);
        assert_eq!(judge_race(false, "error: could not compile"), Race::Missed);
        let elsewhere = format!("{REPORT} (pid=1)\n  #1 test::run_test");
        assert_eq!(judge_race(false, &elsewhere), Race::Missed);
    }

    #[test]
    fn a_machine_without_the_sanitizer_is_not_a_failure() {
        let fatal = "error: test failed\nFATAL: ThreadSanitizer: unexpected memory mapping 0x1-0x2\n";
        let Race::CannotStart(why) = judge_race(false, fatal) else { panic!("the runtime cannot start") };
        assert!(why.ends_with("unexpected memory mapping 0x1-0x2"), "{why}");
        let names = ["libstd-1.so", "librustc-stable_rt.asan.a"].map(str::to_owned);
        assert!(!has_runtime(&names));
        assert!(has_runtime(&["librustc-nightly_rt.tsan.a".to_owned()]));
    }
}

//! Passes thousands of almost valid inputs to every function that takes bytes from peers.
//!
//! `cargo xtask fuzz` runs it as a report (`--run [--seconds N] [--json] [ENTRY…]`); `cargo test` runs each entry for a
//! moment. Each entry runs in its own process, so that every failure is seen: a panic, a signal, an input that does not
//! end. The seed and the number of the input repeat it. A seeded mutator makes the inputs, without coverage feedback:
//! libFuzzer needs a compiler that this workspace does not require. The report says so.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the report is the product")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use mp::{ExitError, RawValue};
use mp_sys::testing::{Mutator, Random};
use serde_json::json;

/// An input that takes longer counts as a hang.
const HANG: Duration = Duration::from_secs(20);
/// The default time for each entry.
const SECONDS_DEFAULT: u64 = 10;
/// The time for each entry that runs as a test.
const MOMENT: Duration = Duration::from_millis(300);
/// The name of what makes the inputs.
const DRIVER: &str = "seeded mutator, no coverage feedback";

/// One entry point of a crate.
#[derive(Clone, Copy)]
struct Entry {
    name: &'static str,
    run: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
}

/// Lists all entry points.
fn entries() -> Vec<Entry> {
    let ipc = kernel_ipc::fuzzing::ENTRIES.map(|entry| Entry {
        name: entry.name,
        run: entry.run,
        seeds: entry.seeds,
    });
    let manager = manager_rt::fuzzing::ENTRIES.iter().map(|entry| Entry {
        name: entry.name,
        run: entry.run,
        seeds: entry.seeds,
    });
    ipc.into_iter().chain(manager).collect()
}

/// The result of an entry.
struct Finding {
    name: &'static str,
    seed: u64,
    inputs: u64,
    /// What went wrong with the newest input, if anything did.
    wrong: Option<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().map(String::as_str) != Some("--run") {
        // This is how `cargo test` calls it. nextest asks for a list first.
        if arguments.iter().any(|argument| argument == "--list") {
            return ExitCode::SUCCESS;
        }
        return report(&entries().into_iter().map(|entry| run(entry, MOMENT)).collect::<Vec<_>>(), false);
    }
    let is_json = arguments.iter().any(|argument| argument == "--json");
    let seconds = arguments.iter().position(|argument| argument == "--seconds");
    let seconds = seconds.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(SECONDS_DEFAULT);
    let names =
        arguments.iter().skip(1).filter(|name| !name.starts_with("--") && name.parse::<u64>().is_err());
    let names: Vec<&String> = names.collect();
    let entries = entries();
    if let Some(unknown) = names.iter().find(|name| entries.iter().all(|entry| entry.name != **name)) {
        let known: Vec<_> = entries.iter().map(|entry| entry.name).collect();
        eprintln!("error: there is no entry `{unknown}`; the entries are: {}", known.join(", "));
        return ExitCode::FAILURE;
    }
    let chosen =
        entries.into_iter().filter(|entry| names.is_empty() || names.iter().any(|name| *name == entry.name));
    let findings: Vec<Finding> = chosen
        .map(|entry| {
            eprintln!("{}: {seconds} s", entry.name);
            run(entry, Duration::from_secs(seconds))
        })
        .collect();
    report(&findings, is_json)
}

/// Runs an entry in its own process.
fn run(entry: Entry, time: Duration) -> Finding {
    let random = Random::new();
    let seed = random.seed();
    let inputs = RawValue::new(0_u64).unwrap();
    let work = || {
        let mut mutator = Mutator::new(random, (entry.seeds)());
        let seeds = mutator.seeds().to_vec();
        let start = Instant::now();
        for input in &seeds {
            (entry.run)(input);
        }
        while start.elapsed() < time {
            inputs.fetch_add(1);
            (entry.run)(&mutator.next_input());
        }
    };
    let child = mp::fork(work).unwrap();
    let (mut seen, mut since) = (0, Instant::now());
    let wrong = loop {
        match child.join_timeout(HANG / 4) {
            Ok(Some(())) => break None,
            Ok(None) => {}
            Err(ExitError::Panicked(message)) => break Some(format!("panicked: {message}")),
            Err(error) => break Some(error.to_string()),
        }
        let now = inputs.load();
        if now != seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() > HANG + time.min(Duration::from_secs(1)) {
            child.kill().unwrap();
            break Some(format!("did not end within {HANG:?}"));
        }
    };
    Finding { name: entry.name, seed, inputs: inputs.load(), wrong }
}

fn report(findings: &[Finding], is_json: bool) -> ExitCode {
    if is_json {
        let entry = |finding: &Finding| {
            json!({ "entry": finding.name, "driver": DRIVER, "seed": finding.seed, "inputs": finding.inputs,
                    "finding": finding.wrong })
        };
        println!("{}", json!({ "entries": findings.iter().map(entry).collect::<Vec<_>>() }));
    } else {
        println!("driver: {DRIVER}");
        for Finding { name, seed, inputs, wrong } in findings {
            let wrong = wrong.as_deref().unwrap_or("nothing found");
            println!("{name:18} {inputs:>10} inputs  MP_SEED={seed}  {wrong}");
        }
    }
    if findings.iter().all(|finding| finding.wrong.is_none()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

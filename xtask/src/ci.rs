//! `cargo xtask ci`: runs everything that must pass, cheapest first, and stops at the first failure.
//!
//! The tests run in only one place, the last step: CI must end with the command that the README recommends to users,
//! and that command runs the unit, integration, fork, crash and documentation tests, each once. A separate test step
//! before it would run the same binaries twice. So there is no step for the crash matrix either: the tests run each of its
//! cells. All that runs here is built once, in the profile of tests, but for the models and the sanitizer.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::bench::{BenchOptions, FuzzOptions};
use crate::downstream;
use crate::models::{self, ModelsOptions};
use crate::step::{self, AfterFailure, Step, Work};
use crate::tidy;
use crate::tsan;
use crate::workspace::{Cargo, Workspace};

/// The time for each fuzzed entry.
const FUZZ_SECONDS: u64 = 5;

/// The options of `cargo xtask ci`.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Leave out the steps before STEP.
    #[arg(long, value_name = "STEP", conflicts_with = "only")]
    from: Option<String>,
    /// Run only STEP.
    #[arg(long, value_name = "STEP")]
    only: Option<String>,
    /// Print the names of the steps without running them.
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let libraries = workspace.packages().iter().filter(|package| package.publish.is_none());
    let libraries: Vec<&str> = libraries.map(|package| package.name.as_str()).collect();
    let steps = chosen(steps(&libraries, workspace.target()), options)?;
    if options.list {
        for step in &steps {
            println!("{}", step.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let passed = step::run(workspace, &steps, AfterFailure::Stop)?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All steps. `libraries` are the published packages, `target` is the folder that cargo builds into.
fn steps(libraries: &[&str], target: &Path) -> Vec<Step> {
    let cargo = |name, call| Step { name, work: Work::Cargo(vec![call]) };
    // A workspace build unites the features of all its members, so a library may lack a feature and still compile. So
    // each library is also compiled by itself, without tests, as in a user's build: with its default features, and with
    // none.
    let alone = libraries.iter().flat_map(|library| {
        let with = |features: &[&str]| {
            let clippy = Cargo::new("clippy --locked").arguments(["--package", library]);
            clippy.arguments(features.iter().copied()).arguments(["--", "-D", "warnings"])
        };
        [with(&[]), with(&["--no-default-features"])]
    });
    let fuzz = FuzzOptions { seconds: Some(FUZZ_SECONDS), debug: true, ..FuzzOptions::default() };
    vec![
        cargo("fmt", Cargo::new("fmt --all --check")),
        Step { name: "tidy", work: Work::Here("cargo xtask tidy", tidy::passes) },
        cargo(
            "clippy",
            Cargo::new("clippy --workspace --all-targets --all-features --locked -- -D warnings"),
        ),
        Step { name: "clippy-alone", work: Work::Cargo(alone.collect()) },
        cargo(
            "docs",
            Cargo::new("doc --workspace --all-features --no-deps --document-private-items --locked")
                .variable("RUSTDOCFLAGS", "-D warnings"),
        ),
        Step { name: "downstream", work: Work::Here("cargo xtask downstream", downstream::passes) },
        Step {
            name: "models",
            work: Work::Cargo(vec![models::clippy(target), ModelsOptions::default().command(target)]),
        },
        Step { name: "tsan", work: Work::Here("cargo xtask tsan", tsan::passes) },
        cargo("fuzz", fuzz.command()),
        cargo("bench", BenchOptions { quick: true, ..BenchOptions::default() }.command()),
        cargo("test", Cargo::new("xtask test")),
    ]
}

fn chosen(mut steps: Vec<Step>, options: &Options) -> Result<Vec<Step>> {
    let Some(name) = options.from.as_ref().or(options.only.as_ref()) else {
        return Ok(steps);
    };
    let Some(first) = steps.iter().position(|step| step.name == name) else {
        let names: Vec<_> = steps.iter().map(|step| step.name).collect();
        bail!("there is no step `{name}`; the steps are: {}", names.join(", "));
    };
    let mut rest = steps.split_off(first);
    if options.only.is_some() {
        rest.truncate(1);
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(options: &Options) -> Result<Vec<&'static str>> {
        Ok(chosen(steps(&["mp-sys"], Path::new("target")), options)?.iter().map(|step| step.name).collect())
    }

    #[test]
    fn ci_ends_with_the_readme_command() {
        let steps = steps(&[], Path::new("target"));
        let Some(Step { work: Work::Cargo(calls), .. }) = steps.last() else { panic!("no call of cargo") };
        assert_eq!(calls[..], [Cargo::new("xtask test")]);
    }

    #[test]
    fn every_library_is_compiled_alone() {
        let steps = steps(&["mp-sys", "shm-core"], Path::new("target"));
        let alone = steps.iter().find(|step| step.name == "clippy-alone").unwrap();
        let Work::Cargo(calls) = &alone.work else { panic!("no calls of cargo") };
        let calls: Vec<_> = calls.iter().map(ToString::to_string).collect();
        assert_eq!(
            calls,
            [
                "cargo clippy --locked --package mp-sys -- -D warnings",
                "cargo clippy --locked --package mp-sys --no-default-features -- -D warnings",
                "cargo clippy --locked --package shm-core -- -D warnings",
                "cargo clippy --locked --package shm-core --no-default-features -- -D warnings",
            ]
        );
    }

    #[test]
    fn steps_are_chosen_by_name() {
        assert_eq!(names(&Options::default()).unwrap().len(), 11);
        let from = Options { from: Some("bench".to_owned()), ..Options::default() };
        assert_eq!(names(&from).unwrap(), ["bench", "test"]);
        let only = Options { only: Some("tidy".to_owned()), ..Options::default() };
        assert_eq!(names(&only).unwrap(), ["tidy"]);
        let wrong = Options { only: Some("tidyy".to_owned()), ..Options::default() };
        assert!(names(&wrong).unwrap_err().to_string().contains("fmt, tidy, clippy"));
    }
}

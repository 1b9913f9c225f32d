//! `cargo xtask test`: runs every test that a user's machine can run.
//!
//! It uses plain `cargo test`, although nextest is pleasant to use. `cargo test` needs no installation, runs the
//! documentation tests in the same call, and runs one test binary after the other, so that other processes do not crowd
//! a test that has deadlines. `cargo nextest run` works as well.
//!
//! Cargo silently leaves out a test target with `required-features` if a feature is missing. So the features come from
//! the manifests: every feature that a test target requires is enabled. Crash points are the exception: they change the
//! code under test and get their own step.

mod left_behind;

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Result;

use self::left_behind::Snapshot;
use crate::step::{self, AfterFailure, Step, Work};
use crate::workspace::{Cargo, Workspace};

/// The feature that compiles the crash points in.
const CRASH_POINTS: &str = "crash-points";

/// One package and its integration tests.
struct Tested {
    package: String,
    has_crash_points: bool,
    /// The name of each test target, and the features that it requires.
    targets: Vec<(String, Vec<String>)>,
}

pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let packages: Vec<_> = workspace
        .packages()
        .iter()
        .map(|package| Tested {
            package: package.name.to_string(),
            has_crash_points: package.features.contains_key(CRASH_POINTS),
            targets: package
                .targets
                .iter()
                .filter(|target| target.is_test())
                .map(|target| (target.name.clone(), target.required_features.clone()))
                .collect(),
        })
        .collect();
    let before = Snapshot::take(workspace.target());
    let passed = step::run(workspace, &steps(&packages), AfterFailure::GoOn)?;
    let left = before.added(&Snapshot::take(workspace.target()));
    for what in &left {
        println!("left behind by the tests: {what}");
    }
    Ok(if passed && left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn steps(packages: &[Tested]) -> Vec<Step> {
    // `--no-fail-fast`, because one run should show everything that is wrong.
    let tests = Cargo::new("test --workspace --locked --no-fail-fast").arguments(plain_features(packages));
    let mut steps = vec![Step { name: "tests", work: Work::Cargo(vec![tests]) }];
    let crash_points: Vec<_> = packages.iter().filter_map(crash_point_tests).collect();
    if !crash_points.is_empty() {
        steps.push(Step { name: CRASH_POINTS, work: Work::Cargo(crash_points) });
    }
    steps
}

/// `--features …` for all test targets that run without crash points; nothing if no target requires a feature.
fn plain_features(packages: &[Tested]) -> Vec<String> {
    let mut features = BTreeSet::new();
    for tested in packages {
        for (_, required) in tested.targets.iter().filter(|(_, required)| !wants_crash_points(required)) {
            features.extend(required.iter().map(|feature| format!("{}/{feature}", tested.package)));
        }
    }
    if features.is_empty() {
        return Vec::new();
    }
    vec!["--features".to_owned(), features.into_iter().collect::<Vec<_>>().join(",")]
}

/// The call that runs the package's tests with crash points, if it has any.
fn crash_point_tests(tested: &Tested) -> Option<Cargo> {
    if !tested.has_crash_points {
        return None;
    }
    let targets: Vec<_> =
        tested.targets.iter().filter(|(_, required)| wants_crash_points(required)).collect();
    let mut features: BTreeSet<&str> = BTreeSet::from([CRASH_POINTS]);
    features.extend(targets.iter().flat_map(|(_, required)| required).map(String::as_str));
    let features = features.into_iter().collect::<Vec<_>>().join(",");
    let call = Cargo::new("test --locked --no-fail-fast").arguments([
        "--package",
        &tested.package,
        "--features",
        &features,
    ]);
    if !targets.is_empty() {
        return Some(call.arguments(targets.iter().flat_map(|(name, _)| ["--test", name])));
    }
    // This package has the feature only for its tests, so a test may also check for it inside, by `cfg`.
    (tested.package == env!("CARGO_PKG_NAME") && !tested.targets.is_empty())
        .then(|| call.arguments(["--tests"]))
}

fn wants_crash_points(required_features: &[String]) -> bool {
    required_features.iter().any(|feature| feature == CRASH_POINTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, has_crash_points: bool, targets: &[(&str, &[&str])]) -> Tested {
        let owned = |features: &[&str]| features.iter().map(|feature| (*feature).to_owned()).collect();
        Tested {
            package: name.to_owned(),
            has_crash_points,
            targets: targets.iter().map(|(name, features)| ((*name).to_owned(), owned(features))).collect(),
        }
    }

    fn lines(packages: &[Tested]) -> Vec<String> {
        let calls = steps(packages).into_iter().flat_map(|step| match step.work {
            Work::Cargo(calls) => calls,
            Work::Here(..) => Vec::new(),
        });
        calls.map(|call| call.to_string()).collect()
    }

    #[test]
    fn without_features_there_is_one_plain_call() {
        let packages = [package("mp-sys", true, &[("it", &[])]), package("xtask", false, &[])];
        assert_eq!(lines(&packages), ["cargo test --workspace --locked --no-fail-fast"]);
    }

    #[test]
    fn no_test_target_is_left_out_for_lack_of_a_feature() {
        let packages = [
            package("mp-sys", true, &[("it", &[]), ("fork", &["testing"])]),
            package("shm-core", true, &[("death", &["crash-points", "testing"])]),
            package("xtask", true, &[("crash", &["crash-points"]), ("leaks", &[])]),
        ];
        let expected = [
            "cargo test --workspace --locked --no-fail-fast --features mp-sys/testing",
            "cargo test --locked --no-fail-fast --package shm-core --features crash-points,testing --test death",
            "cargo test --locked --no-fail-fast --package xtask --features crash-points --test crash",
        ];
        assert_eq!(lines(&packages), expected);
    }

    #[test]
    fn tests_of_this_package_may_use_cfg_instead() {
        let lines = lines(&[package("xtask", true, &[("mixed", &[])])]);
        assert_eq!(
            lines[1],
            "cargo test --locked --no-fail-fast --package xtask --features crash-points --tests"
        );
    }
}

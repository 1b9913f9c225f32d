//! Steps of a long command: each is announced and timed, and a table at the end lists them.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::workspace::{Cargo, Workspace};

/// What a step does.
pub(crate) enum Work {
    /// Calls of cargo, which stop at the first failure.
    Cargo(Vec<Cargo>),
    /// A check inside this process, which returns true if it found nothing. The text names the command that does the
    /// same.
    Here(&'static str, fn(&Workspace) -> Result<bool>),
}

/// A named piece of work.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) work: Work,
}

/// What happens to the steps after one that failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    /// They are not run.
    Stop,
    /// They are run anyway.
    GoOn,
}

struct Outcome {
    name: &'static str,
    /// How long the step ran, and whether it passed; `None` if it was not run.
    run: Option<(Duration, bool)>,
}

/// Runs `steps` in order, and prints their times and the table; returns whether all passed.
pub(crate) fn run(workspace: &Workspace, steps: &[Step], after_failure: AfterFailure) -> Result<bool> {
    let mut outcomes = Vec::new();
    let mut all_passed = true;
    for step in steps {
        if !all_passed && after_failure == AfterFailure::Stop {
            outcomes.push(Outcome { name: step.name, run: None });
            continue;
        }
        let started = Instant::now();
        let passed = step.work.run(step.name, workspace)?;
        let took = started.elapsed();
        println!("==> {}: {} in {:.1} s\n", step.name, verdict(passed), took.as_secs_f64());
        all_passed &= passed;
        outcomes.push(Outcome { name: step.name, run: Some((took, passed)) });
    }
    print!("{}", table(&outcomes));
    Ok(all_passed)
}

impl Work {
    fn run(&self, name: &str, workspace: &Workspace) -> Result<bool> {
        match self {
            Self::Cargo(calls) => {
                for call in calls {
                    println!("==> {name}: {call}");
                    if !call.succeeds(workspace)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Here(command, check) => {
                println!("==> {name}: {command}");
                check(workspace)
            }
        }
    }
}

fn verdict(passed: bool) -> &'static str {
    if passed { "ok" } else { "FAILED" }
}

fn table(outcomes: &[Outcome]) -> String {
    let width = outcomes.iter().map(|outcome| outcome.name.len()).max().unwrap_or(0).max("total".len());
    let mut table = format!("{:width$}  {:>8}  result\n", "step", "seconds");
    let mut total = Duration::ZERO;
    for Outcome { name, run } in outcomes {
        let line = match run {
            Some((took, passed)) => {
                total += *took;
                format!("{name:width$}  {:>8.1}  {}\n", took.as_secs_f64(), verdict(*passed))
            }
            None => format!("{name:width$}  {:>8}  not run\n", "-"),
        };
        table.push_str(&line);
    }
    let passed = outcomes.iter().all(|outcome| matches!(outcome.run, Some((_, true))));
    table.push_str(&format!("{:width$}  {:>8.1}  {}\n", "total", total.as_secs_f64(), verdict(passed)));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_what_was_not_run() {
        let outcomes = [
            Outcome { name: "fmt", run: Some((Duration::from_millis(400), true)) },
            Outcome { name: "clippy", run: Some((Duration::from_millis(1_600), false)) },
            Outcome { name: "docs", run: None },
        ];
        let expected = "\
step     seconds  result
fmt          0.4  ok
clippy       1.6  FAILED
docs           -  not run
total        2.0  FAILED
";
        assert_eq!(table(&outcomes), expected);
    }

    #[test]
    fn a_table_without_failures_ends_with_ok() {
        let outcomes = [Outcome { name: "fmt", run: Some((Duration::from_millis(400), true)) }];
        assert!(table(&outcomes).ends_with("total       0.4  ok\n"), "{}", table(&outcomes));
    }
}

//! The matrix as a table or as JSON.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cell::{Cell, Outcome};
use crate::{KILLS_LONG, KILLS_SHORT};

/// The longest that one cell may take.
const CELL_TIME_MAX: Duration = Duration::from_secs(1200);

/// A cell's outcome as the process that ran it returns it.
type Numbers = (u32, [u32; 4], Vec<u64>);

/// Runs the cells that the arguments name (all if there are no names), and prints what they found.
pub(crate) fn main(cells: &[Cell], arguments: impl Iterator<Item = String>) -> ExitCode {
    let (flags, names): (Vec<String>, Vec<String>) =
        arguments.partition(|argument| argument.starts_with("--"));
    let has = |flag: &str| flags.iter().any(|given| given == flag);
    let wanted: Vec<&Cell> = cells
        .iter()
        .filter(|cell| names.is_empty() || names.iter().any(|name| cell.name().contains(name)))
        .collect();
    if let Some(unknown) = names.iter().find(|name| !cells.iter().any(|cell| cell.name().contains(*name))) {
        let all: Vec<String> = cells.iter().map(Cell::name).collect();
        eprintln!("no cell is called {unknown}; there are: {}", all.join(" "));
        return ExitCode::from(2);
    }
    let kills = if has("--long") { KILLS_LONG } else { KILLS_SHORT };
    let mut rows = Vec::new();
    for (index, cell) in wanted.iter().enumerate() {
        eprintln!("cell {} of {}: {}", index + 1, wanted.len(), cell.name());
        rows.push((**cell, run(cell, kills)));
    }
    if has("--json") {
        println!("{}", json!({ "cells": rows.iter().map(to_json).collect::<Vec<Value>>() }));
    } else {
        print_table(&rows);
    }
    let clean = rows.iter().all(|(_, outcome)| outcome.as_ref().is_some_and(Outcome::is_clean));
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a cell in its own process. Returns `None` if it failed.
fn run(cell: &Cell, kills: u32) -> Option<Outcome> {
    let work = || -> Numbers {
        let out = (cell.run)(kills);
        (out.kills, [out.hangs, out.torn, out.lost, out.duplicated], out.recoveries)
    };
    let child = mp::fork(work).unwrap();
    match child.join_timeout(CELL_TIME_MAX) {
        Ok(Some((kills, [hangs, torn, lost, duplicated], recoveries))) => {
            Some(Outcome { kills, hangs, torn, lost, duplicated, recoveries })
        }
        Ok(None) => {
            child.kill().unwrap();
            eprintln!("{} still ran after {CELL_TIME_MAX:?}", cell.name());
            None
        }
        Err(error) => {
            eprintln!("{}: {error}", cell.name());
            None
        }
    }
}

fn to_json((cell, outcome): &(Cell, Option<Outcome>)) -> Value {
    let Some(out) = outcome else {
        return json!({ "object": cell.object, "role": cell.role, "failed": true });
    };
    let recovery =
        out.recovery_ms().map(|(median, worst)| json!({ "median": round(median), "worst": round(worst) }));
    json!({
        "object": cell.object, "role": cell.role, "kills": out.kills, "hangs": out.hangs, "torn": out.torn,
        "lost": out.lost, "duplicated": out.duplicated, "recovery_ms": recovery,
    })
}

/// Rounds to three decimals: microseconds.
fn round(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}

fn print_table(rows: &[(Cell, Option<Outcome>)]) {
    println!(
        "{:25} {:28} {:>6} {:>6} {:>6} {:>6} {:>6}  recovery ms (median, worst)",
        "object", "role", "kills", "hangs", "torn", "lost", "dupl."
    );
    for (cell, outcome) in rows {
        match outcome {
            None => println!("{:25} {:28} FAILED", cell.object, cell.role),
            Some(out) => {
                let recovery = out.recovery_ms().map(|(median, worst)| format!("{median:.3}  {worst:.3}"));
                println!(
                    "{:25} {:28} {:>6} {:>6} {:>6} {:>6} {:>6}  {}",
                    cell.object,
                    cell.role,
                    out.kills,
                    out.hangs,
                    out.torn,
                    out.lost,
                    out.duplicated,
                    recovery.unwrap_or_default()
                );
            }
        }
    }
}

//! The matrix as a table.

use std::process::ExitCode;
use std::time::Duration;

use mp_sys::deadline::now_nanos;

use crate::cell::{Cell, Outcome};
use crate::pairs;

/// The longest that one cell may take.
const CELL_TIME_MAX: Duration = Duration::from_secs(60);

/// Runs a cell in its own process; returns `None` if it failed.
pub(crate) fn run<R>(name: &str, work: impl FnOnce() -> R) -> Option<R>
where
    R: serde::Serialize + serde::de::DeserializeOwned,
{
    let child = mp::fork(work).unwrap();
    match child.join_timeout(CELL_TIME_MAX) {
        Ok(Some(result)) => Some(result),
        Ok(None) => {
            child.kill().unwrap();
            drop(child.join());
            eprintln!("{name} still ran after {CELL_TIME_MAX:?}");
            None
        }
        Err(error) => {
            eprintln!("{name}: {error}");
            None
        }
    }
}

fn outcome_of(cell: &Cell) -> Option<Outcome> {
    let work = || {
        let out = (cell.run)();
        (out.panics, out.hangs, out.held, out.broken, out.leaked)
    };
    let (panics, hangs, held, broken, leaked) = run(&cell.name(), work)?;
    Some(Outcome { panics, hangs, held, broken, leaked })
}

/// Fails unless each cell is clean.
pub(crate) fn assert_clean(cells: &[Cell]) {
    let mut failed = Vec::new();
    for cell in cells {
        match outcome_of(cell) {
            Some(out) if out.is_clean() => {}
            out => failed.push(format!("{}: {out:?}", cell.name())),
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

pub(crate) fn main(tables: &[&[Cell]]) -> ExitCode {
    let start = now_nanos();
    let mut clean = true;
    println!(
        "{:22} {:36} {:>6} {:>6} {:>6} {:>6} {:>6}",
        "object", "entry", "panics", "hangs", "held", "broken", "leaked"
    );
    for cell in tables.iter().copied().flatten() {
        let out = outcome_of(cell);
        clean &= out.as_ref().is_some_and(Outcome::is_clean);
        match out {
            None => println!("{:22} {:36} FAILED", cell.object, cell.entry),
            Some(Outcome { panics, hangs, held, broken, leaked }) => println!(
                "{:22} {:36} {panics:>6} {hangs:>6} {held:>6} {broken:>6} {leaked:>6}",
                cell.object, cell.entry
            ),
        }
    }
    println!();
    clean &= pairs::print();
    eprintln!("{:.1} s", Duration::from_nanos(now_nanos() - start).as_secs_f64());
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

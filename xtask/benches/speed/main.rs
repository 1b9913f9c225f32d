//! `cargo xtask bench`: measures the library's objects against references in the same run.
//!
//! It does not use a benchmark harness, because those time one function in one process. Here a figure is a ratio
//! between two things that are measured in turn. It often takes several processes, and means nothing without the CPUs
//! on which they ran. `race` measures a row, each family of rows has a file, and `benches/reference/` contains what the
//! rows are compared with.
//!
//! Missing a target does not make the command fail, because the machine may be busy. If you need a failure, read the
//! JSON.
#![expect(clippy::print_stderr, reason = "progress and errors are part of this command's product")]

mod arrays;
mod asynchronous;
mod children;
mod idle;
mod locks;
mod managers;
mod memory;
mod peers;
mod pipes;
mod placement;
mod pools;
mod prefork;
mod processes;
mod python;
mod queues;
mod race;
mod reads;
#[path = "../reference/reference.rs"] // a separate folder: the only one here where `unsafe` may appear
mod reference;
mod report;
mod row;
mod signals;
mod svg;
mod waiting;

use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::placement::{Cpus, Placement};
use crate::python::Python;
use crate::row::{Finding, Row, Scale, Setup, Tool};

#[derive(Parser)]
#[command(
    name = "cargo xtask bench",
    about = "Measure the library's objects against references in the same run."
)]
struct Arguments {
    /// Make few and short runs: they show that everything works, not how fast it is.
    #[arg(long)]
    quick: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Also draw the table into this file; a relative path starts at the root of the workspace.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Measure the common operations that the README compares with other libraries, and draw the picture into this file.
    #[arg(long, value_name = "FILE", conflicts_with = "rows")]
    peers: Option<PathBuf>,
    /// The rows to measure, by name or by a part of their names (default: all).
    #[arg(value_name = "ROW")]
    rows: Vec<String>,
    /// `cargo bench` passes this.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    if reference::is_to_end_at_once() {
        return ExitCode::SUCCESS;
    }
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let mut rows = chosen(all_rows(), &arguments.rows)?;
    if arguments.peers.is_some() {
        rows.retain(|row| peers::wants(row.name, &row.placement.to_string()));
    }
    let setup = Setup {
        cpus: Cpus::of_this_program()?,
        placement: Placement::Any,
        scale: if arguments.quick { Scale::QUICK } else { Scale::FULL },
        python: Python::find(),
        has_redis: managers::has_redis(),
    };
    if setup.python.is_none() {
        eprintln!(
            "python3 with multiprocessing was not found: rows and ratios that compare with it are left out"
        );
    }
    if !setup.has_redis {
        eprintln!(
            "redis-server and redis-benchmark were not found: rows and ratios that compare with them are left out"
        );
    }
    let mut findings = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        if let Some(reason) = left_out(row, &setup) {
            eprintln!("{} ({}) skipped: {reason}", row.name, row.placement);
            continue;
        }
        eprint!(
            "[{}/{}] {} ({}), {} repeats:",
            index + 1,
            rows.len(),
            row.name,
            row.placement,
            setup.scale.repeats
        );
        let finding = race::run(row, &setup, |repeat| eprint!(" {repeat}"));
        eprintln!();
        findings.push(finding?);
    }
    print(arguments, &findings)
}

fn all_rows() -> Vec<Row> {
    [
        locks::rows(),
        reads::rows(),
        memory::rows(),
        arrays::rows(),
        processes::rows(),
        pools::rows(),
        prefork::rows(),
        waiting::rows(),
        pipes::rows(),
        queues::rows(),
        asynchronous::rows(),
        managers::rows(),
        signals::rows(),
        idle::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The rows that a name selects: the row with that name, or otherwise all rows whose names contain it.
fn chosen(rows: Vec<Row>, names: &[String]) -> Result<Vec<Row>> {
    let exact = |name: &str| rows.iter().any(|row| row.name == name);
    let means = |name: &str, row: &Row| if exact(name) { row.name == name } else { row.name.contains(name) };
    for name in names {
        if !rows.iter().any(|row| means(name, row)) {
            // A row with several placements is listed once.
            let mut known: Vec<&str> = Vec::new();
            for row in &rows {
                if !known.contains(&row.name) {
                    known.push(row.name);
                }
            }
            bail!("there is no row `{name}`; the rows are: {}", known.join(", "));
        }
    }
    let wanted: Vec<bool> =
        rows.iter().map(|row| names.is_empty() || names.iter().any(|name| means(name, row))).collect();
    Ok(rows.into_iter().zip(wanted).filter_map(|(row, wanted)| wanted.then_some(row)).collect())
}

fn left_out(row: &Row, setup: &Setup) -> Option<&'static str> {
    match row.needs {
        Some(Tool::Python) if setup.python.is_none() => return Some("no python3"),
        Some(Tool::Redis | Tool::RedisOverTls) if !setup.has_redis => return Some("no redis-server"),
        Some(Tool::RabbitMq) if !managers::has_rabbitmq() => return Some("no rabbitmq-server"),
        Some(Tool::RedisOverTls) if !managers::has_tls() => return Some("no openssl, or Redis without TLS"),
        _ => {}
    }
    (!setup.cpus.allow(row.placement)).then_some("this program may use only one CPU")
}

fn print(arguments: &Arguments, findings: &[Finding]) -> Result<()> {
    let processor = placement::processor();
    let text = if arguments.json {
        report::json(findings, &processor)?
    } else {
        report::table(findings, &processor)
    };
    std::io::stdout().write_all(text.as_bytes()).context("the report cannot be printed")?;
    if let Some(path) = &arguments.svg {
        std::fs::write(from_root(path), svg::picture(findings)).context("the picture cannot be written")?;
    }
    if let Some(path) = &arguments.peers {
        let picture = peers::picture(findings, &processor);
        std::fs::write(from_root(path), picture).context("the picture cannot be written")?;
    }
    Ok(())
}

/// Cargo runs this in the package's folder, whatever the user's current folder.
fn from_root(path: &Path) -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    Path::new(&package).parent().map_or_else(|| path.to_owned(), |root| root.join(path))
}

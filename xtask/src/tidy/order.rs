//! In which order the modules of a folder stand: a module may use only those below it.
//!
//! Crates have an order (`arrows`), and so do the folders inside a crate. If two modules need each other, a reader
//! understands neither without the other, and no part of them can be left out. A table lists the modules of a folder
//! row by row. Everything that the code names counts: imports, paths within the code, and paths within macros. A name
//! that a module re-exports counts as the module that defines it. Tests may use anything.
//!
//! A folder may be listed without its crate, and a crate without its folders: each table is checked by itself.

mod paths;
mod tables;

use std::collections::{BTreeMap, BTreeSet};

use self::paths::{Arrow, Modules};
use crate::tidy::{Finding, RustFile};

/// The order of the modules in one folder.
pub(super) struct Order {
    /// The folder: `src` of a crate, or the folder of one of its modules.
    folder: &'static str,
    /// The modules, from the top row to the bottom row. Modules of one row do not use each other. [`PARENT`] stands for
    /// what the folder's own file (`src/lib.rs`, `src/x.rs`) defines; without a place it stands above all rows.
    rows: &'static [&'static [&'static str]],
}

/// The name of the folder's own file in a table.
const PARENT: &str = "self";

/// Returns the findings about all tables.
pub(super) fn check(files: &[RustFile]) -> Vec<Finding> {
    tables::ORDERS.iter().flat_map(|order| check_order(order, files)).collect()
}

fn check_order(order: &Order, files: &[RustFile]) -> Vec<Finding> {
    let source = crate_source(order.folder);
    let modules = Modules::of(files, source);
    let inside = modules.below(order.folder);
    let mut findings = same_names(order, &inside);
    for arrow in modules.arrows() {
        findings.extend(broken(order, &modules, &arrow));
    }
    findings
}

/// The `src` folder of the crate to which a folder belongs.
fn crate_source(folder: &str) -> &str {
    let end = folder.find("/src").map_or(folder.len(), |at| at + "/src".len());
    &folder[..end]
}

/// Finds modules that the table lacks or that the folder lacks. `inside` maps each module of the folder to its file.
fn same_names(order: &Order, inside: &BTreeMap<String, String>) -> Vec<Finding> {
    let listed: Vec<&str> = order.rows.iter().flat_map(|row| row.iter().copied()).collect();
    let mut findings = Vec::new();
    for (module, file) in inside {
        if !listed.contains(&module.as_str()) {
            let message = format!("`{module}` has no place in the order of {}: {WHERE}", order.folder);
            findings.push(Finding::new(file, 1, message));
        }
    }
    let mut seen = BTreeSet::from([PARENT]);
    for module in listed {
        let is_twice = module != PARENT && !seen.insert(module);
        if is_twice || module != PARENT && !inside.contains_key(module) {
            let why = if is_twice { "is listed twice" } else { "does not exist" };
            findings.push(Finding::new(TABLES, 1, format!("`{module}` in {} {why}", order.folder)));
        }
    }
    findings
}

/// Where the tables are.
const TABLES: &str = "xtask/src/tidy/order/tables.rs";
const WHERE: &str = "give it one in xtask/src/tidy/order/tables.rs";

/// Checks one arrow, if both of its ends are in the folder and differ.
fn broken(order: &Order, modules: &Modules<'_>, arrow: &Arrow) -> Option<Finding> {
    let folder = modules.module_of(order.folder)?;
    let from = node(&folder, &arrow.from)?;
    let to = node(&folder, &arrow.to)?;
    // A module that no row names is already a finding.
    let (upper, lower) = (row_of(order, from)?, row_of(order, to)?);
    if from == to || upper < lower {
        return None;
    }
    let how = if upper == lower { "stands beside it" } else { "stands above it" };
    let message = format!(
        "`{from}` uses `{}`, but `{to}` {how} in the order of {}: arrows run downwards",
        arrow.written, order.folder
    );
    Some(Finding::new(&arrow.file, arrow.line, message))
}

/// The name in the table of the part of `folder` that a module belongs to, or `None` if it is outside.
fn node<'m>(folder: &[String], module: &'m [String]) -> Option<&'m str> {
    let inside = module.strip_prefix(folder)?;
    Some(inside.first().map_or(PARENT, String::as_str))
}

/// The row of a module, counted from 1; the folder's own file has row 0 without a place.
fn row_of(order: &Order, module: &str) -> Option<usize> {
    let row = order.rows.iter().position(|row| row.contains(&module));
    row.map(|row| row + 1).or_else(|| (module == PARENT).then_some(0))
}

#[cfg(test)]
mod tests;

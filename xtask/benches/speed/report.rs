//! The report for programs (JSON) and for terminals (a table with bars).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use crate::row::{Finding, PingPong};

/// Characters in a bar of a row that uses exactly what its target allows.
const BAR_AT_TARGET: usize = 20;
/// The most characters in a bar.
const BAR_MAX: usize = 30;

/// One row of the stable format; `docs/benchmarks/` keeps a run in it.
#[derive(Serialize)]
struct JsonRow<'a> {
    name: &'a str,
    placement: String,
    ours: f64,
    unit: String,
    reference: BTreeMap<&'a str, f64>,
    ratio: BTreeMap<&'a str, f64>,
    target: String,
    met: bool,
    /// For two cores: the time of a bare ping-pong between them, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    ping_pong_ns: Option<JsonPingPong>,
}

#[derive(Serialize)]
struct JsonPingPong {
    before: f64,
    after: f64,
    median: f64,
}

/// The report in the stable format, one row per line.
pub(crate) fn json(findings: &[Finding], processor: &str) -> Result<String> {
    let rows = findings.iter().map(|finding| serde_json::to_string(&json_row(finding)));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let processor = serde_json::to_string(processor)?;
    Ok(format!("{{\"processor\":{processor},\"rows\":[\n{}\n]}}\n", rows.join(",\n")))
}

fn json_row(finding: &Finding) -> JsonRow<'_> {
    JsonRow {
        name: finding.name,
        placement: finding.placement.to_string(),
        ours: rounded(finding.ours),
        unit: finding.unit.to_string(),
        reference: finding
            .references
            .iter()
            .map(|(name, figure)| (name.as_str(), rounded(*figure)))
            .collect(),
        ratio: finding.ratios().map(|(name, ratio)| (name, rounded(ratio))).collect(),
        target: finding.target_text(),
        met: finding.is_met(),
        ping_pong_ns: finding.ping_pong.map(|PingPong { before, after, median }| JsonPingPong {
            before: rounded(before),
            after: rounded(after),
            median: rounded(median),
        }),
    }
}

/// Three digits after the point; more would be noise.
fn rounded(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}

/// The report as a table. The bar shows how much of the target's allowance is used, up to `|`.
pub(crate) fn table(findings: &[Finding], processor: &str) -> String {
    let cells: Vec<[String; 7]> = findings.iter().map(cells).collect();
    let heads = ["row", "placement", "ours", "ping-pong", "ratios", "target", ""].map(str::to_owned);
    let widths: [usize; 7] = std::array::from_fn(|column| {
        let column = cells.iter().chain([&heads]).map(|line| line[column].chars().count());
        column.max().unwrap_or(0)
    });
    let mut table =
        format!("on {processor}; ping-pong: a bare ping-pong between the two CPUs, before and after\n");
    for (line, finding) in [(&heads, None)].into_iter().chain(cells.iter().zip(findings.iter().map(Some))) {
        let bar = finding.map_or_else(|| "share of the target".to_owned(), bar);
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            // Figures are aligned at their units.
            let _infallible = match column {
                2 | 3 => write!(table, "{cell:>width$}  "),
                _ => write!(table, "{cell:width$}  "),
            };
        }
        table.push_str(bar.trim_end());
        table.push('\n');
    }
    let met = findings.iter().filter(|finding| finding.is_met()).count();
    let _infallible = writeln!(table, "{met} of {} targets met", findings.len());
    table
}

fn cells(finding: &Finding) -> [String; 7] {
    let ratios: Vec<_> = finding.ratios().map(|(name, ratio)| format!("{} x {name}", short(ratio))).collect();
    [
        finding.name.to_owned(),
        finding.placement.to_string(),
        figure(finding),
        finding.ping_pong.map_or_else(String::new, |PingPong { before, after, .. }| {
            format!("{}, {} ns", short(before), short(after))
        }),
        ratios.join(", "),
        finding.target_text(),
        if finding.is_met() { "met".to_owned() } else { "MISSED".to_owned() },
    ]
}

/// The library's figure with its unit.
pub(crate) fn figure(finding: &Finding) -> String {
    format!("{} {}", short(finding.ours), finding.unit)
}

/// Rounds to three significant digits.
pub(crate) fn short(figure: f64) -> String {
    match figure {
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        0.1.. => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

fn bar(finding: &Finding) -> String {
    let Some(used) = finding.used() else {
        return String::new();
    };
    let length = (used * BAR_AT_TARGET as f64).ceil().clamp(1.0, BAR_MAX as f64);
    let mut bar = String::new();
    for place in 0..BAR_MAX {
        let filled = (place as f64) < length;
        if place == BAR_AT_TARGET {
            bar.push('|');
        }
        bar.push(if filled { '█' } else { ' ' });
    }
    bar
}

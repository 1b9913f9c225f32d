//! The picture in the README: the cost of common operations here and with other libraries, on a logarithmic scale.
//!
//! All figures are from one run of this program, in which the contestants of a row take turns. A missing bar was not
//! measured, because the library has no such operation or is not installed. The name and the figure are beside each bar, so
//! the picture does not depend on colours.

use std::fmt::Write as _;

use crate::row::{Finding, Unit};

/// The operations of the picture, from top to bottom.
const OPERATIONS: [Operation; 6] = [
    Operation {
        label: "Increment a shared number",
        figures: &[
            Figure {
                who: "mp",
                row: "value_update_increment_vs_python",
                placement: "one_core",
                contestant: OURS,
            },
            Figure {
                who: "Python",
                row: "value_update_increment_vs_python",
                placement: "one_core",
                contestant: "python",
            },
        ],
    },
    Operation {
        label: "Make and drop a shared number",
        figures: &[
            Figure { who: "mp", row: "value_make_drop", placement: "one_core", contestant: OURS },
            Figure { who: "Python", row: "value_make_drop", placement: "one_core", contestant: "python" },
        ],
    },
    Operation {
        label: "Put 64 bytes into a queue and get them, between two CPUs",
        figures: &[
            Figure { who: "mp", row: "queue_bytes_64", placement: "two_cores", contestant: OURS },
            Figure {
                who: "ipc-channel",
                row: "queue_bytes_64",
                placement: "two_cores",
                contestant: "ipc_channel",
            },
            Figure { who: "Python", row: "queue_bytes_64", placement: "two_cores", contestant: "python" },
        ],
    },
    Operation {
        label: "Send 64 bytes and receive an answer, between two CPUs",
        figures: &[
            Figure { who: "mp", row: "pipe_round_trip", placement: "two_cores", contestant: OURS },
            Figure {
                who: "ipc-channel",
                row: "pipe_round_trip",
                placement: "two_cores",
                contestant: "ipc_channel",
            },
            Figure { who: "Python", row: "pipe_round_trip", placement: "two_cores", contestant: "python" },
        ],
    },
    Operation {
        label: "Read a value in a server process, on one CPU",
        figures: &[
            Figure { who: "mp", row: "manager_get_vs_redis", placement: "one_core", contestant: OURS },
            Figure { who: "Redis", row: "manager_get_vs_redis", placement: "one_core", contestant: "redis" },
            Figure { who: "Python", row: "manager_get", placement: "one_core", contestant: "python" },
        ],
    },
    Operation {
        label: "Lock and unlock in a server process, between two CPUs",
        figures: &[
            Figure { who: "mp", row: "manager_lock", placement: "two_cores", contestant: OURS },
            Figure { who: "Python", row: "manager_lock", placement: "two_cores", contestant: "python" },
        ],
    },
];
const OURS: &str = "ours";

/// The ends of the scale, in nanoseconds.
const LEAST: f64 = 10.0;
const MOST: f64 = 1_000_000.0;
const MARKS: [(f64, &str); 6] =
    [(1e1, "10 ns"), (1e2, "100 ns"), (1e3, "1 µs"), (1e4, "10 µs"), (1e5, "100 µs"), (1e6, "1 ms")];

const LEFT: f64 = 16.0;
const SCALE: f64 = 700.0;
const WIDTH: f64 = 860.0;
const TOP: usize = 76;
const HEAD: usize = 24;
const BAR: usize = 18;
const GAP: usize = 10;
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1b1f24}.head{font-size:17px;font-weight:600}\
.small{font-size:11px;fill:#57606a}.mp{fill:#2f8f5b}.other{fill:#8c96a0}.mark{stroke:#d0d7de}";

/// An operation, and the libraries that are compared.
struct Operation {
    label: &'static str,
    figures: &'static [Figure],
}

/// The place of a figure in a run.
struct Figure {
    who: &'static str,
    row: &'static str,
    placement: &'static str,
    contestant: &'static str,
}

/// Whether the picture needs this row.
pub(crate) fn wants(row: &str, placement: &str) -> bool {
    let mut figures = OPERATIONS.iter().flat_map(|operation| operation.figures);
    figures.any(|figure| figure.row == row && figure.placement == placement)
}

/// Draws the whole file, from a run of all rows that it needs.
pub(crate) fn picture(findings: &[Finding], processor: &str) -> String {
    let mut y = TOP;
    let mut bars = String::new();
    for operation in &OPERATIONS {
        let _infallible = writeln!(bars, "<text x=\"{LEFT}\" y=\"{}\">{}</text>", y + 16, operation.label);
        y += HEAD;
        for figure in operation.figures {
            if let Some(nanos) = nanos(findings, figure) {
                bar(&mut bars, y, figure.who, nanos);
                y += BAR;
            }
        }
        y += GAP;
    }
    let height = y + 28;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\">\n<title>What common operations cost</title>\n<style>{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text class=\"head\" x=\"{LEFT}\" y=\"28\">What one operation costs (shorter is better; logarithmic scale)</text>\n"
    );
    for (nanos, label) in MARKS {
        let x = place(nanos);
        let _infallible = writeln!(
            svg,
            "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{from}\" y2=\"{to}\"/>\
             <text class=\"small\" text-anchor=\"middle\" x=\"{middle:.1}\" y=\"{above}\">{label}</text>",
            from = TOP - 8,
            to = height - 26,
            middle = x.max(LEFT + 14.0),
            above = TOP - 14,
        );
    }
    let _infallible = writeln!(
        svg,
        "{bars}<text class=\"small\" x=\"{LEFT}\" y=\"{}\">Measured in one run on: {}</text>\n</svg>",
        height - 10,
        processor.replace('&', "&amp;").replace('<', "&lt;"),
    );
    svg
}

fn nanos(findings: &[Finding], figure: &Figure) -> Option<f64> {
    let same =
        |finding: &&Finding| finding.name == figure.row && finding.placement.to_string() == figure.placement;
    let finding = findings.iter().find(same)?;
    let value = if figure.contestant == OURS {
        finding.ours
    } else {
        finding.references.iter().find(|(name, _)| name == figure.contestant)?.1
    };
    match finding.unit {
        Unit::Nanos => Some(value),
        Unit::Micros => Some(value * 1e3),
        Unit::Millis => Some(value * 1e6),
        _ => None,
    }
}

fn bar(svg: &mut String, y: usize, who: &str, nanos: f64) {
    let end = place(nanos);
    let class = if who == "mp" { "mp" } else { "other" };
    let _infallible = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{top}\" width=\"{length:.1}\" height=\"{thick}\" rx=\"2\"/>\
         <text class=\"small\" x=\"{beside:.1}\" y=\"{text}\">{who}: {time}</text>",
        top = y + 2,
        length = (end - LEFT).max(2.0),
        thick = BAR - 5,
        beside = end + 6.0,
        text = y + 12,
        time = time(nanos),
    );
}

/// Returns the position of a time on the scale.
fn place(nanos: f64) -> f64 {
    let share = (nanos.clamp(LEAST, MOST) / LEAST).log10() / (MOST / LEAST).log10();
    LEFT + SCALE * share
}

/// Formats a time with two or three digits.
fn time(nanos: f64) -> String {
    let (value, unit) = match nanos {
        ..1e3 => (nanos, "ns"),
        ..1e6 => (nanos / 1e3, "µs"),
        _ => (nanos / 1e6, "ms"),
    };
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

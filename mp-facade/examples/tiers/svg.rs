//! The bars as an SVG file.

use std::fmt::Write;

use crate::measure::{Row, Tier};
use crate::picture::{Scale, short, time};

const LINE: usize = 24;
const TOP: usize = 64;
const LABELS: f64 = 330.0;
const BARS: f64 = 480.0;
const TIMES: f64 = 90.0;
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1b1f24}.head{font-size:17px;font-weight:600}\
.work{font-weight:600}.small{font-size:11px;fill:#57606a}.mark{stroke:#d0d7de}\
.shared{fill:#2f8f5b}.kernel{fill:#3a72b8}.server{fill:#b7791f}";

/// The whole file.
pub(crate) fn svg(rows: &[Row]) -> String {
    let scale = Scale::of(rows);
    let works = rows.chunk_by(|one, next| one.work == next.work);
    let height = TOP + (rows.len() + works.clone().count()) * LINE + 12;
    let width = LABELS + BARS + TIMES;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\">\n<title>What one operation costs in each tier</title>\n<style>{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text class=\"head\" x=\"16\" y=\"28\">What one operation costs in each tier (each line is ten times the one before)</text>\n"
    );
    for mark in scale.marks() {
        let x = LABELS + BARS * scale.place(mark);
        _ = writeln!(
            svg,
            "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{}\"/>\
             <text class=\"small\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{}\">{}</text>",
            TOP - 8,
            height - 8,
            TOP - 12,
            short(mark)
        );
    }
    let mut y = TOP;
    for rows in works {
        if let Some(first) = rows.first() {
            _ = writeln!(
                svg,
                "<text class=\"work\" x=\"16\" y=\"{}\">{}</text>",
                y + 16,
                escaped(first.work)
            );
        }
        y += LINE;
        for row in rows {
            line(&mut svg, y, row, scale);
            y += LINE;
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn line(svg: &mut String, y: usize, row: &Row, scale: Scale) {
    let class = match row.tier {
        Tier::SharedMemory => "shared",
        Tier::KernelObjects => "kernel",
        Tier::ServerProcess => "server",
    };
    let length = (BARS * scale.place(row.nanoseconds)).max(2.0);
    _ = writeln!(
        svg,
        "<text x=\"28\" y=\"{text}\">{tier} <tspan class=\"small\">{how}</tspan></text>\
         <rect class=\"{class}\" x=\"{LABELS:.1}\" y=\"{top}\" width=\"{length:.1}\" height=\"{thick}\" rx=\"2\"/>\
         <text class=\"small\" x=\"{end:.1}\" y=\"{text}\">{time}</text>",
        text = y + 16,
        tier = row.tier,
        how = escaped(row.how),
        top = y + 4,
        thick = LINE - 7,
        end = LABELS + length + 8.0,
        time = time(row.nanoseconds),
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::tests::rows;

    #[test]
    fn every_row_has_a_bar_inside_of_the_picture() {
        let svg = svg(&rows());
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        for part in ["in &lt;place&gt;", ">10.0 µs</text>", ">counting</text>", ">100µs</text>"] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        let widths: Vec<f64> = svg
            .lines()
            .filter(|line| line.contains("<rect class="))
            .map(|line| line.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(widths.len(), 3);
        assert!(widths.iter().all(|width| (2.0..=BARS).contains(width)), "{widths:?}");
        assert!((widths[1] - BARS * 0.8).abs() < 0.1, "{widths:?}");
    }
}

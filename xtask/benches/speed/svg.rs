//! The report as a picture: one bar per row, whose length is the used share of its target.
//!
//! The thick line is the target: a bar that ends left of it meets the target. The colours only repeat what the text at
//! the end of the bar says.

use std::fmt::Write as _;

use crate::report::{figure, short};
use crate::row::Finding;

const LINE: usize = 22;
const TOP: usize = 64;
const LABELS: f64 = 330.0;
const BARS: f64 = 430.0;
const NOTES: f64 = 340.0;
/// The end of the scale, as a share of the target. Longer bars are cut off there.
const MOST: f64 = 1.6;
const MARKS: [(f64, &str); 4] = [(0.0, "0"), (0.5, "50 %"), (1.0, "target"), (1.5, "150 %")];
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1b1f24}.head{font-size:17px;font-weight:600}\
.small{font-size:11px;fill:#57606a}.met{fill:#2f8f5b}.missed{fill:#c8553d}.mark{stroke:#d0d7de}\
.target{stroke:#1b1f24;stroke-width:2}";

/// The whole file.
pub(crate) fn picture(findings: &[Finding]) -> String {
    let height = TOP + findings.len() * LINE + 16;
    let width = LABELS + BARS + NOTES;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\">\n<title>Speed against targets</title>\n<style>{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text class=\"head\" x=\"16\" y=\"28\">Speed: the used share of each target (shorter is better)</text>\n"
    );
    for (share, label) in MARKS {
        mark(&mut svg, share, label, height);
    }
    for (index, finding) in findings.iter().enumerate() {
        line(&mut svg, TOP + index * LINE, finding);
    }
    // It is drawn last, so that it lies on top of the bars.
    let target = place(1.0);
    let _infallible = writeln!(
        svg,
        "<line class=\"target\" x1=\"{target:.1}\" x2=\"{target:.1}\" y1=\"{}\" y2=\"{}\"/>\n</svg>",
        TOP - 8,
        height - 12
    );
    svg
}

fn mark(svg: &mut String, share: f64, label: &str, height: usize) {
    let x = place(share);
    let _infallible = writeln!(
        svg,
        "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{}\"/>\
         <text class=\"small\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{}\">{label}</text>",
        TOP - 8,
        height - 12,
        TOP - 12
    );
}

fn line(svg: &mut String, y: usize, finding: &Finding) {
    let (class, verdict) = if finding.is_met() { ("met", "") } else { ("missed", ", missed") };
    let (from, to) = (place(0.0), place(finding.used().unwrap_or(MOST)).max(place(0.0) + 2.0));
    let ratio = finding.target.reference().and_then(|_| finding.judged());
    let note =
        ratio.map_or_else(|| figure(finding), |ratio| format!("{} = {} x", figure(finding), short(ratio)));
    let _infallible = writeln!(
        svg,
        "<text x=\"16\" y=\"{text}\">{name} <tspan class=\"small\">{placement}</tspan></text>\
         <rect class=\"{class}\" x=\"{from:.1}\" y=\"{top}\" width=\"{length:.1}\" height=\"{thick}\" rx=\"2\"/>\
         <text class=\"small\" x=\"{notes:.1}\" y=\"{text}\">{note} (target {target}{verdict})</text>",
        text = y + 14,
        name = escaped(finding.name),
        placement = finding.placement,
        top = y + 3,
        length = to - from,
        thick = LINE - 7,
        notes = LABELS + BARS + 12.0,
        note = escaped(&note),
        target = escaped(&finding.target_text()),
    );
}

/// The position of a share of the target on the scale.
fn place(share: f64) -> f64 {
    LABELS + BARS * share.clamp(0.0, MOST) / MOST
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

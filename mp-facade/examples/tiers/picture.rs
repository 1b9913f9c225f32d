//! The figures as bars in the terminal, and as JSON.
//!
//! All bars have one scale, so they can be compared across works too. It is logarithmic, from a nanosecond (or the next
//! power of ten below the fastest figure) to the next one above the slowest.

use std::fmt::Write;

use serde_json::json;

use crate::measure::Row;

/// Characters of the longest possible bar.
const BAR_CHARS: usize = 48;
/// A character in eighths.
const EIGHTHS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// Powers of ten of a nanosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scale {
    pub(crate) from: i32,
    pub(crate) to: i32,
}

impl Scale {
    pub(crate) fn of(rows: &[Row]) -> Self {
        let powers = rows.iter().map(|row| row.nanoseconds.log10());
        let (least, most) = powers.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), power| {
            (least.min(power), most.max(power))
        });
        let (least, most) = if least.is_finite() && most.is_finite() { (least, most) } else { (0.0, 0.0) };
        // A figure at the border would have no bar, or a full one.
        Self { from: (whole(least.ceil()) - 1).min(0), to: whole(most.floor()) + 1 }
    }

    /// Returns the position of a figure: 0 is the beginning, 1 the end.
    pub(crate) fn place(self, nanoseconds: f64) -> f64 {
        let width = f64::from(self.to - self.from);
        ((nanoseconds.log10() - f64::from(self.from)) / width).clamp(0.0, 1.0)
    }

    /// Returns the powers of ten, from the beginning to the end.
    pub(crate) fn marks(self) -> impl Iterator<Item = f64> {
        (self.from..=self.to).map(|power| 10_f64.powi(power))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a power of ten that a measured time has is small")]
fn whole(power: f64) -> i32 {
    power as i32
}

/// Formats a time in the unit that leaves one to three digits before the point.
pub(crate) fn time(nanoseconds: f64) -> String {
    let (number, unit) = match nanoseconds {
        n if n < 999.5 => (n, "ns"),
        n if n < 999.5e3 => (n / 1e3, "µs"),
        n if n < 999.5e6 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    let digits = match number {
        n if n < 9.995 => 2,
        n if n < 99.95 => 1,
        _ => 0,
    };
    format!("{number:.digits$} {unit}")
}

/// The bars as text.
pub(crate) fn text(rows: &[Row]) -> String {
    let scale = Scale::of(rows);
    let label = |row: &Row| format!("{:<14}  {}", row.tier, row.how);
    let width = rows.iter().map(|row| label(row).chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for works in rows.chunk_by(|one, next| one.work == next.work) {
        let Some(first) = works.first() else { continue };
        _ = writeln!(text, "{}", first.work);
        for row in works {
            let (label, time) = (label(row), time(row.nanoseconds));
            let bar = bar(scale.place(row.nanoseconds));
            _ = writeln!(text, "  {label:<width$} {time:>8}  {bar}");
        }
        text.push('\n');
    }
    _ = writeln!(text, "{}{}", " ".repeat(width + 13), axis(scale));
    text.push_str("best of five, of one operation; each mark is ten times the one before\n");
    text
}

fn bar(place: f64) -> String {
    let full = EIGHTHS.len() - 1;
    // At most 384, and at least something visible.
    let eighths =
        (1..=BAR_CHARS * full).rfind(|eighths| *eighths as f64 <= place * (BAR_CHARS * full) as f64);
    let eighths = eighths.unwrap_or(1);
    let mut bar = "█".repeat(eighths / full);
    if !eighths.is_multiple_of(full) {
        bar.extend(EIGHTHS.get(eighths % full));
    }
    bar
}

/// The powers of ten, each below its place.
fn axis(scale: Scale) -> String {
    let mut axis = String::new();
    for mark in scale.marks() {
        let at = (0..=BAR_CHARS).rfind(|at| *at as f64 <= scale.place(mark) * BAR_CHARS as f64 + 1e-9);
        let label = format!("|{}", short(mark));
        let used = axis.chars().count();
        if let Some(gap) = at.and_then(|at| at.checked_sub(used)) {
            axis.push_str(&" ".repeat(gap));
            axis.push_str(&label);
        }
    }
    axis
}

/// Formats a power of ten as short as possible: a mark has six characters if there are eight of them.
pub(crate) fn short(nanoseconds: f64) -> String {
    let (number, unit) = match nanoseconds {
        n if n < 1.0 => return format!("{n}ns"),
        n if n < 999.5 => (n, "ns"),
        n if n < 999.5e3 => (n / 1e3, "µs"),
        n if n < 999.5e6 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    format!("{number:.0}{unit}")
}

/// The same figures as JSON, for programs.
pub(crate) fn json(rows: &[Row]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "work": row.work,
                "tier": row.tier.to_string(),
                "how": row.how,
                "nanoseconds": row.nanoseconds,
            })
        })
        .collect();
    format!("{}\n", json!({ "rows": rows }))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::measure::Tier;

    pub(crate) fn rows() -> Vec<Row> {
        let row = |work, tier, how, nanoseconds| Row { work, tier, how, nanoseconds };
        vec![
            row("counting", Tier::SharedMemory, "in <place>", 6.25),
            row("counting", Tier::ServerProcess, "by request", 10_000.0),
            row("handing over", Tier::KernelObjects, "Queue", 99_960.0),
        ]
    }

    #[test]
    fn the_scale_reaches_around_all_figures() {
        let scale = Scale::of(&rows());
        assert_eq!(scale, Scale { from: 0, to: 5 });
        assert_eq!(scale.marks().collect::<Vec<_>>(), [1.0, 10.0, 100.0, 1e3, 1e4, 1e5]);
        assert!((scale.place(1e3) - 0.6).abs() < 1e-9);
        assert_eq!((scale.place(0.001), scale.place(1e9)), (0.0, 1.0));
        let exact = [Row { nanoseconds: 10.0, ..rows().remove(0) }];
        assert_eq!(Scale::of(&exact), Scale { from: 0, to: 2 });
        let tiny = [Row { nanoseconds: 0.5, ..rows().remove(0) }];
        assert_eq!(Scale::of(&tiny), Scale { from: -1, to: 0 });
        assert_eq!(Scale::of(&[]), Scale { from: -1, to: 1 }, "nothing was measured");
    }

    #[test]
    fn times_have_three_digits_and_a_unit() {
        let times = [0.5, 6.251, 99.94, 123.4, 999.6, 12_345.0, 999_900.0, 2.5e6, 3e9].map(time);
        let expected =
            ["0.50 ns", "6.25 ns", "99.9 ns", "123 ns", "1.00 µs", "12.3 µs", "1.00 ms", "2.50 ms", "3.00 s"];
        assert_eq!(times, expected);
        assert_eq!([0.1, 1.0, 100.0, 1e3, 1e7].map(short), ["0.1ns", "1ns", "100ns", "1µs", "10ms"]);
    }

    #[test]
    fn bars_are_aligned_and_as_long_as_their_logarithm() {
        let text = text(&rows());
        let bars: Vec<_> = text.lines().filter(|line| line.contains('█')).collect();
        let starts = bars.iter().map(|line| line.chars().position(|c| c == '█').unwrap());
        let lengths = bars.iter().map(|line| line.chars().filter(|c| *c == '█').count());
        let axis = text.lines().find(|line| line.contains('|')).unwrap();
        let begin = axis.chars().position(|c| c == '|').unwrap();
        assert_eq!(starts.collect::<Vec<_>>(), [begin; 3], "{text}");
        // log10(6.25) is 0.796, of 5 powers.
        assert_eq!(lengths.collect::<Vec<_>>(), [7, 38, 47], "{text}");
        let marks: Vec<_> =
            axis.chars().enumerate().filter(|(_, c)| *c == '|').map(|(at, _)| at - begin).collect();
        assert_eq!(marks, [0, 9, 19, 28, 38, 48], "{text}");
        assert!(axis.ends_with("|1ns     |10ns     |100ns   |1µs      |10µs     |100µs"), "{axis}");
        assert!(text.starts_with("counting\n  shared memory   in <place>"), "{text}");
    }

    #[test]
    fn a_bar_is_never_nothing_and_never_too_long() {
        for eighths in 0..=BAR_CHARS * 8 {
            let bar = bar(eighths as f64 / (BAR_CHARS * 8) as f64);
            assert!((1..=BAR_CHARS).contains(&bar.chars().count()), "{eighths}: {bar:?}");
            assert_eq!(bar.chars().filter(|c| *c == '█').count(), eighths / 8);
        }
    }

    #[test]
    fn the_object_has_every_row() {
        let object: serde_json::Value = serde_json::from_str(&json(&rows())).unwrap();
        assert_eq!(object["rows"].as_array().unwrap().len(), 3);
        let expected = json!({ "work": "handing over", "tier": "kernel objects", "how": "Queue", "nanoseconds": 99_960.0 });
        assert_eq!(object["rows"][2], expected);
    }
}

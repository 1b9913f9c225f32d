//! The output at the end.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use serde_json::{Map, Value, json};

use crate::parent::Run;
use crate::ranking::Ranked;
use crate::total::Tiers;

/// Lines of the picture of the letters.
const BAR_LINES: u64 = 4;
/// Blocks from empty to full, in eighths.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The tables.
pub(crate) fn text(run: &Run, walk: Duration) -> String {
    let totals = &run.totals;
    let rows = [
        ("files", totals.files),
        ("bytes", totals.counts.bytes),
        ("lines", totals.counts.lines),
        ("words", totals.counts.words),
        ("workers", run.workers as u64),
        ("killed", run.killed.into()),
        ("redone", run.tiers.redone()),
        ("unreadable", totals.unreadable.len() as u64),
    ];
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.add_rows(rows.map(|(name, number)| [name.to_owned(), grouped(number)]));
    if let Some(numbers) = table.column_mut(1) {
        numbers.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!("{table}\n{}\n{}", picture(&totals.counts.letters), throughput(run));
    _ = writeln!(text, "; the files were found in {} before", seconds(walk));
    text.push_str(&tiers(&run.tiers));
    if let Some(ranked) = &run.ranked {
        text.push_str(&ranking(ranked));
    }
    for (path, reason) in &totals.unreadable {
        _ = writeln!(text, "unreadable: {}: {reason}", printable(path));
    }
    text
}

/// What each tier did for the count.
fn tiers(tiers: &Tiers) -> String {
    let Tiers { results, result_bytes, tasks, deliveries, put_aside } = *tiers;
    let [results, result_bytes, tasks, deliveries, redone, put_aside] =
        [results, result_bytes, tasks, deliveries, tiers.redone(), put_aside].map(grouped);
    format!(
        "shared memory: {results} results, each committed once, in {result_bytes} bytes\n\
         kernel objects: {tasks} tasks in a queue, handed out {deliveries} times, {redone} of these again; {put_aside} put aside\n"
    )
}

/// What the third tier did, and the most frequent words.
fn ranking(ranked: &Ranked) -> String {
    let [words, distinct, transactions] = [ranked.words, ranked.distinct, ranked.transactions].map(grouped);
    let mut text = format!(
        "server process: {words} words in a dict, {distinct} different ones, added by {transactions} transactions\n"
    );
    let counts: Vec<_> = ranked.top.iter().map(|(word, count)| (word, grouped(*count))).collect();
    let width = counts.iter().map(|(_, count)| count.len()).max().unwrap_or(0);
    counts.iter().for_each(|(word, count)| _ = writeln!(text, " {count:>width$} {word}"));
    text
}

/// The same numbers as JSON, for programs.
pub(crate) fn json(run: &Run) -> String {
    let totals = &run.totals;
    let letters: Map<String, Value> =
        ('a'..='z').zip(totals.counts.letters).map(|(letter, count)| (letter.into(), count.into())).collect();
    let unreadable: Vec<_> = totals.unreadable.keys().map(|path| path.to_string_lossy()).collect();
    let mut object = json!({
        "files": totals.files,
        "bytes": totals.counts.bytes,
        "lines": totals.counts.lines,
        "words": totals.counts.words,
        "letters": letters,
        "killed": run.killed,
        "redone": run.tiers.redone(),
        "unreadable": unreadable,
    });
    if let Some(ranked) = &run.ranked {
        object["top"] = json!(ranked.top);
    }
    format!("{object}\n")
}

/// The same work by a single worker, and how much faster `run` was.
pub(crate) fn comparison(run: &Run, single: &Run) -> String {
    let speed_up = single.elapsed.as_secs_f64() / run.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
    let kills = if run.killed > 0 { ", and only the first was killed into" } else { "" };
    let mut text =
        format!("{}\nspeed-up: {speed_up:.2} (both ran with a warm file cache{kills})\n", throughput(single));
    if run.totals != single.totals || top_of(run) != top_of(single) {
        text.push_str("the two counts differ: the tree has changed in between\n");
    }
    text
}

fn top_of(run: &Run) -> Option<&Vec<(String, u64)>> {
    run.ranked.as_ref().map(|ranked| &ranked.top)
}

/// How fast a run was.
pub(crate) fn throughput(run: &Run) -> String {
    let seconds_spent = run.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
    let files = run.totals.files as f64 / seconds_spent;
    let megabytes = run.totals.counts.bytes as f64 / 1e6 / seconds_spent;
    let workers = if run.workers == 1 { "worker" } else { "workers" };
    let (count, time) = (run.workers, seconds(run.elapsed));
    format!("{files:.0} files/s, {megabytes:.0} MB/s: {count} {workers} in {time}")
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A bar for each letter, the most frequent one as high as the picture; below it the share in percent.
fn picture(letters: &[u64; 26]) -> String {
    let sum = letters.iter().sum::<u64>().max(1);
    let highest = letters.iter().copied().max().unwrap_or(0).max(1);
    let full = BLOCKS.len() as u64 - 1;
    let heights = letters.map(|count| {
        let eighths = u128::from(count) * u128::from(BAR_LINES * full);
        u64::try_from(eighths.div_ceil(u128::from(highest))).unwrap_or(0)
    });
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = String>| {
        let cells = cells.collect::<String>();
        _ = writeln!(text, " {}", cells.trim_end());
    };
    for below in (0..BAR_LINES).rev() {
        line(&mut heights.iter().map(|height| {
            let eighths = height.saturating_sub(below * full).min(full);
            let block = usize::try_from(eighths).ok().and_then(|eighths| BLOCKS.get(eighths)).unwrap_or(&' ');
            format!("{block}{block} ")
        }));
    }
    line(&mut ('a'..='z').map(|letter| format!("{letter}  ")));
    line(&mut letters.iter().map(|count| format!("{:<3.0}", *count as f64 * 100.0 / sum as f64)));
    text.push_str(" (letters, in percent)");
    text
}

/// A path as text that neither moves the cursor nor changes colours, whatever its name.
pub(crate) fn printable(path: &Path) -> String {
    let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    path.to_string_lossy().chars().map(printable).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;
    use crate::count::Counts;
    use crate::total::Totals;

    fn run() -> Run {
        let mut letters = [0; 26];
        (letters[4], letters[25]) = (1500, 500);
        let counts = Counts { bytes: 2_000_000, lines: 3, words: 4, letters };
        let unreadable = BTreeMap::from([(OsStr::from_bytes(b"a\xff\n\"").into(), "Is a secret".to_owned())]);
        let totals = Totals { files: 1, counts, unreadable };
        let tiers =
            Tiers { results: 1999, result_bytes: 500_000, tasks: 2000, deliveries: 2006, put_aside: 1 };
        let top = vec![("the".to_owned(), 1234), ("a".to_owned(), 5)];
        let ranked = Some(Ranked { top, words: 2500, distinct: 1100, transactions: 7 });
        Run { totals, tiers, ranked, killed: 5, workers: 2, elapsed: Duration::from_millis(500) }
    }

    #[test]
    fn numbers_are_grouped_by_three() {
        let texts = [0, 7, 999, 1000, 123_456, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "7", "999", "1,000", "123,456", "1,234,567"]);
    }

    #[test]
    fn the_object_is_one_line_with_exactly_these_keys() {
        let text = json(&run());
        assert_eq!(text.lines().count(), 1);
        let object: Map<String, Value> = serde_json::from_str(&text).unwrap();
        let mut keys: Vec<_> = object.keys().map(String::as_str).collect();
        keys.sort_unstable();
        let expected =
            ["bytes", "files", "killed", "letters", "lines", "redone", "top", "unreadable", "words"];
        assert_eq!(keys, expected);
        assert_eq!(object["redone"], 6);
        assert_eq!(object["unreadable"], json!(["a\u{fffd}\n\""]));
        assert_eq!(object["top"], json!([["the", 1234], ["a", 5]]));
        assert!(!json(&Run { ranked: None, ..run() }).contains("top"));
        assert_eq!(object["letters"].as_object().unwrap().len(), 26);
        assert_eq!(object["letters"]["z"], 500);
    }

    #[test]
    fn the_text_names_all_numbers_and_no_control_characters() {
        let text = text(&run(), Duration::from_millis(1));
        for part in [
            "2,000,000",
            "2 files/s, 4 MB/s",
            "2 workers",
            "unreadable: a\u{fffd}\u{fffd}\": Is a secret\n",
            "shared memory: 1,999 results, each committed once, in 500,000 bytes\n",
            "queue, handed out 2,006 times, 6 of these again; 1 put aside\n",
            "server process: 2,500 words in a dict, 1,100 different ones, added by 7 transactions\n 1,234 the\n     5 a\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    }

    #[test]
    fn the_picture_shows_shares() {
        let picture = picture(&run().totals.counts.letters);
        let lines: Vec<_> = picture.lines().collect();
        assert_eq!(lines[0], format!("{}██", " ".repeat(13)), "the most frequent letter reaches the top");
        assert_eq!(lines[1].chars().filter(|c| *c == '█').count(), 2);
        assert_eq!(
            lines[3].chars().filter(|c| *c == '█').count(),
            4,
            "eight eighths of four lines are a third"
        );
        assert_eq!(lines[5].split_whitespace().collect::<Vec<_>>()[4], "75");
    }

    #[test]
    fn nothing_counted_is_no_division_by_zero() {
        let (totals, tiers, elapsed) = (Totals::default(), Tiers::default(), Duration::ZERO);
        let nothing = Run { totals, tiers, ranked: None, killed: 0, workers: 0, elapsed };
        assert!(text(&nothing, Duration::ZERO).contains("0 files/s, 0 MB/s"));
        assert!(comparison(&nothing, &nothing).contains("speed-up: 0.00"));
    }
}

//! The page and the metrics of a manager whose objects have hostile names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use manager_rt::Manager;
use manager_rt::report::ObjectReport;

use super::limits::LINES_MAX;
use super::source::Sample;
use super::{AGAIN_AFTER, AGAIN_AFTER_MAX, metrics, next_pause, page};

const HOSTILE: &[&str] = &[
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "a\"} 1\nmp_manager_objects 99\n# TYPE x counter",
    "</table></main><h1>gone</h1>",
    "\\",
    "\\\"",
    "'; --",
    "line\r\nbreak\tand\u{1b}[2Jclear",
    "\u{202e}reversed",
    "&lt;b&gt;",
    "{name=\"x\"}",
    "日本語",
];

/// Returns a sample of a manager that holds a lock and a list with each of the hostile names.
fn hostile() -> Sample {
    let manager = Manager::in_process().unwrap();
    let locks: Vec<_> =
        HOSTILE.iter().map(|name| manager.named(&format!("{name}-lock")).lock().unwrap()).collect();
    let guards: Vec<_> = locks.iter().map(|lock| lock.lock().unwrap()).collect();
    for name in HOSTILE {
        manager.named(name).list::<u8>().unwrap().push(&1).unwrap();
    }
    let objects: Vec<ObjectReport> = manager.objects().map(Result::unwrap).collect();
    let sample = Sample::of(manager.report().unwrap(), objects);
    drop(guards);
    sample
}

#[test]
fn the_page_contains_no_element_of_a_name() {
    let page = page::page(&hostile());
    let mut tags = BTreeSet::new();
    for part in page.split('<').skip(1) {
        tags.insert(part.split(|c: char| !c.is_ascii_alphanumeric() && c != '/' && c != '!').next().unwrap());
    }
    let own = [
        "!doctype",
        "html",
        "/html",
        "head",
        "/head",
        "meta",
        "title",
        "/title",
        "link",
        "script",
        "/script",
        "noscript",
        "/noscript",
        "body",
        "/body",
        "header",
        "/header",
        "h1",
        "/h1",
        "p",
        "/p",
        "main",
        "/main",
        "dl",
        "/dl",
        "div",
        "/div",
        "dt",
        "/dt",
        "dd",
        "/dd",
        "section",
        "/section",
        "h2",
        "/h2",
        "table",
        "/table",
        "thead",
        "/thead",
        "tbody",
        "/tbody",
        "tr",
        "/tr",
        "th",
        "/th",
        "td",
        "/td",
    ];
    let own: BTreeSet<_> = own.into_iter().collect();
    assert!(tags.is_subset(&own), "{:?}", tags.difference(&own).collect::<Vec<_>>());
    for once in ["<script", "<main>", "<h1>", "</table></main>"] {
        assert!(page.matches(once).count() <= 1, "{once}");
    }
    assert!(!page.contains("onerror=alert") || !page.contains("<img"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && page.contains("日本語"), "{page}");
    assert!(!page.contains('\u{1b}') && !page.contains('\u{202e}'));
    let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!elsewhere.contains("http:") && !elsewhere.contains("//"), "it names another server");
}

/// One line of metrics.
struct Line {
    name: String,
    labels: BTreeMap<String, String>,
    value: String,
}

/// Reads a line as Prometheus does.
fn parse(line: &str) -> Option<Line> {
    let is_name = |name: &str| {
        let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        begins_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = (line.get(..end)?, line.get(end..)?);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, behind) = rest.trim_start_matches(',').split_once("=\"")?;
            let (mut value, mut chars) = (String::new(), behind.char_indices());
            let end = loop {
                match chars.next()? {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match chars.next()?.1 {
                        'n' => '\n',
                        c @ ('\\' | '"') => c,
                        _ => return None,
                    }),
                    (_, c) => value.push(c),
                }
            };
            if !is_name(label) || labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            rest = behind.get(end + 1..)?;
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.strip_prefix(' ')?;
    value.parse::<f64>().ok()?;
    is_name(name).then(|| Line { name: name.to_owned(), labels, value: value.to_owned() })
}

#[test]
fn the_metrics_are_read_as_they_are_meant() {
    let sample = hostile();
    let text = metrics::metrics(&sample);
    assert!(text.ends_with('\n'));
    let (mut types, mut lines) = (BTreeMap::new(), Vec::new());
    for line in text.split_terminator('\n') {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(matches!(kind, "gauge" | "counter"), "{line}");
            assert!(types.insert(name, kind).is_none(), "{name} has two types");
        } else if line.strip_prefix("# HELP ").is_none() {
            let parsed = parse(line);
            let parsed = parsed.unwrap_or_else(|| panic!("{line}"));
            assert!(types.contains_key(&*parsed.name), "the type of {line} comes before it");
            lines.push(parsed);
        }
    }
    for (name, kind) in &types {
        assert_eq!(name.ends_with("_total"), *kind == "counter", "{name}");
        assert!(name.starts_with("mp_manager_") && text.contains(&format!("# HELP {name} ")), "{name}");
    }
    let mut seen = BTreeSet::new();
    assert!(lines.iter().all(|line| seen.insert((&line.name, &line.labels))), "no line comes twice");
    let value = |name: &str| &*lines.iter().find(|line| line.name == name).unwrap().value;
    assert_eq!(value("mp_manager_objects"), (2 * HOSTILE.len()).to_string());
    assert_eq!(value("mp_manager_failed_saves_total"), "0");
    assert!(!types.contains_key("mp_manager_last_save_age_seconds"), "nothing was saved");
    let names = |of: &str| -> BTreeSet<_> {
        lines.iter().filter(|line| line.name == of).map(|line| line.labels["name"].clone()).collect()
    };
    let expected: BTreeSet<_> = HOSTILE.iter().map(|name| format!("{name}-lock")).collect();
    assert_eq!(names("mp_manager_lock_held_seconds"), expected);
    assert_eq!(names("mp_manager_object_items"), HOSTILE.iter().map(|name| (*name).to_owned()).collect());
}

#[test]
fn saves_are_shown_if_there_were_any() {
    let mut sample = Sample::of(Manager::in_process().unwrap().report().unwrap(), Vec::new());
    assert!(!page::page(&sample).contains("Last save"));
    sample.report.server.failed_saves = 3;
    let page = page::page(&sample);
    assert!(page.contains("<dd id=\"saved\">–</dd><dd class=\"note\">3 failed</dd>"), "{page}");
    sample.report.server.last_save = Some(Duration::from_millis(2_500));
    assert!(page::page(&sample).contains("<dd id=\"saved\">2.5 s ago</dd>"));
    let text = metrics::metrics(&sample);
    for line in ["mp_manager_failed_saves_total 3\n", "mp_manager_last_save_age_seconds 2.5\n"] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn tables_and_metrics_have_lines_up_to_the_limit_and_not_one_more() {
    let manager = Manager::in_process().unwrap();
    for (more, note) in [(0, false), (1, true)] {
        let events: Vec<_> = (0..LINES_MAX + more).map(|_| manager.lock().unwrap()).collect();
        let guards: Vec<_> = events.iter().map(|lock| lock.lock().unwrap()).collect();
        let sample = Sample::of(manager.report().unwrap(), Vec::new());
        let page = page::page(&sample);
        let table = page.split("id=\"locks\"").nth(1).unwrap().split("</section>").next().unwrap();
        assert_eq!(table.matches("<tr>").count(), 1 + LINES_MAX);
        assert_eq!(table.contains("and 1 more"), note);
        let text = metrics::metrics(&sample);
        let lines = text.lines().filter(|line| line.starts_with("mp_manager_lock_held_seconds{"));
        assert_eq!(lines.count(), LINES_MAX);
        drop(guards);
    }
}

#[test]
fn a_page_that_always_ends_is_started_less_and_less_often() {
    let mut pauses = vec![AGAIN_AFTER];
    while pauses.len() < 100 {
        pauses.push(next_pause(pauses[pauses.len() - 1]));
    }
    assert!(pauses.windows(2).all(|two| two[1] == AGAIN_AFTER_MAX || two[1] == 2 * two[0]));
    let total: Duration = pauses.iter().sum();
    assert!(total > 90 * AGAIN_AFTER_MAX, "{total:?}");
}

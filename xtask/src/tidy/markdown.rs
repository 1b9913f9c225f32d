//! Checks Markdown text: no blanks at the end of a line, and no link to a file that does not exist.
//!
//! Links to other sites are not followed, because a build must not depend on them. rustdoc checks Rust paths as targets
//! (`mp::Value`).

use crate::tidy::{Finding, TextFile};

/// Returns the findings about one document; `exists` knows the files and folders of the workspace.
pub(super) fn check(file: &TextFile, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let folder: Vec<&str> =
        file.path.rsplit_once('/').map_or(Vec::new(), |(folder, _)| folder.split('/').collect());
    let mut fence: Option<&str> = None;
    for (index, line) in file.text.lines().enumerate() {
        let mut report = |message: String| findings.push(Finding::new(&file.path, index + 1, message));
        if line.ends_with([' ', '\t']) {
            report("blanks at the end of the line".to_owned());
        }
        let start = line.trim_start();
        let marker = ["```", "~~~"].into_iter().find(|marker| start.starts_with(marker));
        match (fence, marker) {
            (None, Some(_)) => fence = marker,
            (Some(open), Some(_)) if start.starts_with(open) => fence = None,
            (None, None) => {
                for target in targets(line) {
                    let found =
                        target.is_empty() || resolve(&folder, target).is_some_and(|path| exists(&path));
                    if !found {
                        report(format!("the link to `{target}` leads to no file"));
                    }
                }
            }
            _ => {}
        }
    }
    findings
}

/// The targets of links in this line that name a file, without their fragments.
fn targets(line: &str) -> Vec<&str> {
    let prose: Vec<(usize, usize)> = outside_code(line);
    let mut targets = Vec::new();
    for (at, _) in line.match_indices("](") {
        if !prose.iter().any(|(from, to)| (*from..*to).contains(&at)) {
            continue;
        }
        let rest = &line[at + 2..];
        let end = rest.find(')').unwrap_or(rest.len());
        targets.push(&rest[..end]);
    }
    // A definition `[name]: target`, which other lines refer to.
    if let Some((name, target)) = line.trim_start().split_once("]: ")
        && name.starts_with('[')
        && !name.starts_with("[^")
    {
        targets.push(target);
    }
    targets.into_iter().filter_map(file_of).collect()
}

/// The file that a target names, or `None` for other sites, places in the same document and Rust paths.
fn file_of(target: &str) -> Option<&str> {
    // A title may follow the target.
    let target = target.split_whitespace().next()?.trim_matches(['<', '>']);
    let elsewhere = target.contains("://") || target.starts_with("mailto:") || target.starts_with('#');
    if elsewhere || target.contains("::") {
        return None;
    }
    target.split('#').next()
}

/// The ranges of a line that are not in backticks.
fn outside_code(line: &str) -> Vec<(usize, usize)> {
    let mut ranges = Vec::new();
    let mut from = 0;
    let mut code = false;
    for (at, _) in line.match_indices('`') {
        if !code {
            ranges.push((from, at));
        }
        code = !code;
        from = at + 1;
    }
    if !code {
        ranges.push((from, line.len()));
    }
    ranges
}

/// Resolves `target`, as seen from `folder`, to a path from the root; returns `None` if it leaves the workspace.
fn resolve(folder: &[&str], target: &str) -> Option<String> {
    let mut parts: Vec<&str> = if target.starts_with('/') { Vec::new() } else { folder.to_vec() };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::fixture;

    fn found(path: &str, text: &str) -> Vec<usize> {
        let known =
            ["README.md", "docs", "docs/ARCHITECTURE.md", "docs/guide/values.md", "mp-sys/src/fork.rs"];
        fixture::lines(&check(&fixture::text(path, text), |path| known.contains(&path)))
    }

    #[test]
    fn blanks_at_the_end_of_a_line_are_found_everywhere() {
        assert_eq!(found("README.md", "a \nb\n```\nc\t\n```\nd"), [1, 4]);
    }

    #[test]
    fn links_that_lead_somewhere_are_left_alone() {
        let text = "\
[a](docs/ARCHITECTURE.md), [b](./docs/guide/values.md#units \"title\") and [`c`](docs/)
[d](https://example.org/x.md) [e](#below) [f](mailto:a@example.org) [g](mp::Value) `[h](gone.md)`
[i]: docs/ARCHITECTURE.md
[^1]: a footnote
```text
[j](gone.md)
```
";
        assert_eq!(found("README.md", text), fixture::NOWHERE);
        assert_eq!(
            found("docs/guide/values.md", "[up](../../README.md) [fork](../../mp-sys/src/fork.rs)"),
            fixture::NOWHERE
        );
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let text = "[a](gone.md)\n[`b`](docs/gone.md#x)\n[c]: gone.md\n```\n```\n[d](../README.md)\n";
        assert_eq!(found("README.md", text), [1, 2, 3, 6]);
        assert_eq!(found("docs/guide/values.md", "[up](README.md)"), [1]);
    }
}

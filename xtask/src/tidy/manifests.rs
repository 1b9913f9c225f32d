//! What the manifests must contain: the lints of the workspace, a crate page, and a reason for each dependency.
//!
//! They are read as lines, not as TOML: two of the rules concern comments, which a TOML parser drops.

use crate::tidy::{Finding, TextFile};

/// Checks that a package has `[lints] workspace = true`: without it, nothing lints the package.
pub(super) fn inherits_lints(manifest: &TextFile) -> Vec<Finding> {
    let in_section = section(&manifest.text, "lints").any(|(_, line)| is_true(line, "workspace"));
    let dotted = manifest.text.lines().any(|line| is_true(line, "lints.workspace"));
    if in_section || dotted {
        return Vec::new();
    }
    vec![Finding::new(&manifest.path, 1, "`[lints] workspace = true` is missing")]
}

/// Checks that a published crate has a page.
pub(super) fn has_readme(manifest: &str, there: bool) -> Vec<Finding> {
    if there {
        Vec::new()
    } else {
        vec![Finding::new(manifest, 1, "the crate has no README.md beside its manifest")]
    }
}

/// Checks that each line of `[workspace.dependencies]` says why it is there, in a comment at its end or above it.
///
/// The crates of the workspace are exempt.
pub(super) fn dependencies_say_why(manifest: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut above = "";
    for (number, line) in section(&manifest.text, "workspace.dependencies") {
        if let Some((name, value)) = line.split_once('=').filter(|_| starts_entry(line)) {
            let ours = value.contains("path =") || value.contains("path=");
            let says_why = comment(value).is_some() || above.starts_with('#');
            if !ours && !says_why {
                let message = format!("no comment says why `{}` is needed", name.trim());
                findings.push(Finding::new(&manifest.path, number, message));
            }
        }
        above = line.trim_start();
    }
    findings
}

/// The lines of one section with their numbers, without its header.
fn section<'text>(text: &'text str, name: &str) -> impl Iterator<Item = (usize, &'text str)> {
    let head = format!("[{name}]");
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    let inside = lines.skip_while(move |(_, line)| comment_free(line) != head).skip(1);
    inside.take_while(|(_, line)| !line.starts_with('['))
}

/// Whether an entry starts here: it starts at the margin, while the lines of a long array are indented or close it.
fn starts_entry(line: &str) -> bool {
    line.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '"')
}

fn is_true(line: &str, key: &str) -> bool {
    comment_free(line)
        .split_once('=')
        .is_some_and(|(name, value)| name.trim() == key && value.trim() == "true")
}

fn comment_free(line: &str) -> &str {
    comment(line).map_or(line, |comment| &line[..line.len() - comment.len()]).trim()
}

/// The comment at the end of a line, from its `#`. A `#` in quotes starts no comment, and an empty comment does not
/// count.
fn comment(line: &str) -> Option<&str> {
    let mut quote = None;
    let start = line.char_indices().find_map(|(at, c)| {
        match (quote, c) {
            (None, '#') => return Some(at),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
        None
    })?;
    let comment = &line[start..];
    (!comment.trim_start_matches('#').trim().is_empty()).then_some(comment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::fixture;

    fn lints(text: &str) -> usize {
        inherits_lints(&fixture::text("a/Cargo.toml", text)).len()
    }

    #[test]
    fn a_package_without_the_lints_is_found() {
        assert_eq!(lints("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"), 0);
        assert_eq!(lints("[lints] # all\nworkspace = true # of them\n[features]\n"), 0);
        assert_eq!(lints("lints.workspace = true\n"), 0);
        assert_eq!(lints("[package]\nname = \"a\"\n"), 1);
        assert_eq!(lints("[lints]\n# workspace = true\n"), 1);
        assert_eq!(lints("[lints]\n[features]\nworkspace = true\n"), 1);
    }

    #[test]
    fn a_library_without_a_page_is_found() {
        assert_eq!(has_readme("a/Cargo.toml", false).len(), 1);
        assert_eq!(has_readme("a/Cargo.toml", true), []);
    }

    #[test]
    fn dependencies_without_a_reason_are_found() {
        let text = "\
[workspace.dependencies]
# Ours.
ours = { path = \"ours\", version = \"=0.1.0\" }
more = { path = \"more\", version = \"0.1.0\" }

with = \"1\" # a reason
# A reason.
above = \"1\"
without = \"1\"
quoted = { version = \"1\", features = [\"#\"] }
empty = \"1\" #
long = { version = \"1\", features = [
    \"a\",
] }

[workspace.lints.rust]
unsafe_code = \"deny\"
";
        let found = dependencies_say_why(&fixture::text("Cargo.toml", text));
        assert_eq!(fixture::lines(&found), [9, 10, 11, 12]);
        assert!(found[0].message.contains("`without`"));
    }

    #[test]
    fn a_comment_starts_outside_quotes() {
        assert_eq!(comment("a = \"#\" # why"), Some("# why"));
        assert_eq!(comment("a = '#\"' # why"), Some("# why"));
        assert_eq!(comment("a = \"#\""), None);
    }
}

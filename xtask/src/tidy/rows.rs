//! Checks tables that must be complete: a row for each name of Python, and a row for each public type in the page on
//! forks.
//!
//! Both pages promise completeness, and without this check a new type or a forgotten name would break the promise
//! unnoticed. Names count only in first cells, as words in backticks: a row that mentions a name in passing is not
//! about it.

use syn::{Item, UseTree};

use crate::tidy::imports::is_public;
use crate::tidy::{Finding, RustFile, TextFile};

/// The list of Python's names.
pub(super) const NAMES: &str = "docs/python-names.txt";
/// The page with a row for each of them.
pub(super) const FROM_PYTHON: &str = "docs/guide/coming-from-python.md";
/// The page with a row for each public type.
pub(super) const ON_FORKS: &str = "docs/FORK.md";
/// The crates of those public types, by their `lib.rs`. The flag says whether their rows say that they belong to
/// managers, whose types share names with other crates.
pub(super) const CRATES: [(&str, bool); 4] = [
    ("shm-core/src/lib.rs", false),
    ("kernel-ipc/src/lib.rs", false),
    ("manager-rt/src/lib.rs", true),
    ("mp-facade/src/lib.rs", false),
];

/// The first cell of a row.
struct Row<'a> {
    /// The words in backticks before a colon, or all words in backticks.
    about: Vec<&'a str>,
    /// The words in backticks behind the colon: the members that the row covers.
    members: Vec<&'a str>,
}

impl<'a> Row<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let cells = line.strip_prefix('|')?;
        // A bar inside a cell is escaped.
        let end = cells.match_indices('|').map(|(at, _)| at).find(|at| !cells[..*at].ends_with('\\'))?;
        let cell = &cells[..end];
        let (about, members) = cell.split_once("`: `").map_or((cell, ""), |(about, _)| {
            // Both halves keep their backticks.
            cell.split_at(about.len() + 1)
        });
        Some(Self { about: words(about), members: words(members) })
    }
}

/// The words inside backticks.
pub(super) fn words(text: &str) -> Vec<&str> {
    let code = text.split('`').skip(1).step_by(2);
    code.flat_map(|code| code.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .filter(|word| !word.is_empty())
        .collect()
}

fn rows(page: &TextFile) -> Vec<Row<'_>> {
    page.text.lines().filter_map(Row::of).collect()
}

/// Returns the names of the list that have no row.
pub(super) fn of_python(names: &TextFile, page: &TextFile) -> Vec<Finding> {
    let rows = rows(page);
    let mut findings = Vec::new();
    for (number, line) in names.text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        let mut report = |message| findings.push(Finding::new(&names.path, number + 1, message));
        let Some(((kind, owner), listed)) =
            line.split_once(": ").and_then(|(head, listed)| Some((head.split_once(' ')?, listed)))
        else {
            report("a line is `module NAME: NAMES` or `class NAME: NAMES`".to_owned());
            continue;
        };
        for name in listed.split_whitespace() {
            let is_there = match kind {
                "module" => rows.iter().any(|row| row.about.contains(&name)),
                _ => rows.iter().any(|row| row.about.contains(&owner) && row.members.contains(&name)),
            };
            if !is_there {
                report(format!("`{owner}`: `{name}` has no row in {}", page.path));
            }
        }
    }
    findings
}

/// Returns the public types of a crate's root that have no row.
pub(super) fn of_forks(krate: &RustFile, is_of_managers: bool, page: &TextFile) -> Vec<Finding> {
    let rows: Vec<Vec<&str>> = rows(page).into_iter().map(|row| [row.about, row.members].concat()).collect();
    let is_in_page = |name: &str| {
        rows.iter().any(|words| words.contains(&"manager") == is_of_managers && words.contains(&name))
    };
    let mut types = Vec::new();
    for item in &krate.syntax.items {
        match item {
            Item::Use(item) if is_public(&item.vis) => types_of(&item.tree, &mut types),
            Item::Struct(item) if is_public(&item.vis) => types.push(item.ident.clone()),
            Item::Enum(item) if is_public(&item.vis) => types.push(item.ident.clone()),
            _ => {}
        }
    }
    let missing = types.into_iter().filter(|name| !is_in_page(&name.to_string()));
    missing
        .map(|name| {
            let line = name.span().start().line;
            Finding::new(&krate.path, line, format!("the public type `{name}` has no row in {}", page.path))
        })
        .collect()
}

/// What a `pub use` brings that is written like a type or trait.
pub(super) fn types_of(tree: &UseTree, types: &mut Vec<syn::Ident>) {
    match tree {
        UseTree::Path(path) => types_of(&path.tree, types),
        UseTree::Group(group) => group.items.iter().for_each(|tree| types_of(tree, types)),
        UseTree::Name(name) if is_type(&name.ident) => types.push(name.ident.clone()),
        UseTree::Rename(name) if is_type(&name.rename) => types.push(name.rename.clone()),
        _ => {}
    }
}

fn is_type(name: &syn::Ident) -> bool {
    let name = name.to_string();
    name.starts_with(char::is_uppercase) && name.contains(char::is_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::fixture;

    const PAGE: &str = "\
| Python | here |
|---|---|
| `Value('i', 5)`, `a \\| b` | `RawValue` |
| `Process`: `start`, `run` | `Queue` |
| `mp::manager::Lock` | x |
text about `Event`
";

    fn of_python(text: &str) -> Vec<String> {
        let findings = super::of_python(&fixture::text("names", text), &fixture::text("page", PAGE));
        findings.into_iter().map(|finding| format!("{}: {}", finding.line, finding.message)).collect()
    }

    #[test]
    fn names_with_a_row_are_left_alone() {
        assert_eq!(of_python("# words\nmodule m: Value a b Process\nclass Process: start run\n"), [""; 0]);
    }

    #[test]
    fn names_without_a_row_are_found() {
        let found =
            of_python("module m: RawValue Event start\nclass Value: start\nclass Process: join\nwords");
        let expected = [
            "1: `m`: `RawValue` has no row in page",
            "1: `m`: `Event` has no row in page",
            "1: `m`: `start` has no row in page",
            "2: `Value`: `start` has no row in page",
            "3: `Process`: `join` has no row in page",
            "4: a line is `module NAME: NAMES` or `class NAME: NAMES`",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn public_types_without_a_row_are_found() {
        let source = "pub use a::{Process, LIMIT, wait};\nuse b::Private;\npub use c::{\n    Lock,\n    d::New as Renamed,\n};\n\
                      pub struct Value;\npub(crate) struct Hidden;\npub enum Other {}\n";
        let krate = fixture::rust("lib.rs", source);
        let page = fixture::text("page", PAGE);
        assert_eq!(fixture::lines(&of_forks(&krate, false, &page)), [4, 5, 9]);
        assert_eq!(fixture::lines(&of_forks(&krate, true, &page)), [1, 5, 7, 9]);
    }
}

//! Checks that the guide is complete where a reader looks something up: each error that a function returns has a row, and so has
//! each limit.
//!
//! A row names something if one of its cells has the name in backticks, alone or as a part, as in `` `PutError::Full` ``.

use std::collections::HashSet;

use syn::Item;

use crate::tidy::imports::is_public;
use crate::tidy::rows::words;
use crate::tidy::{Finding, RustFile, TextFile};

/// The pages with rows for the errors of the files in a folder. The first folder that fits counts.
pub(super) const ERRORS: &[(&str, &[&str])] = &[
    ("manager-rt/src/", &["docs/guide/managers.md"]),
    ("kernel-ipc/src/queue/", &["docs/guide/queues.md"]),
    ("kernel-ipc/src/", &["docs/guide/pipes.md"]),
    ("mp-facade/src/pool/", &["docs/guide/pools.md"]),
    ("mp-facade/src/group/", &["docs/guide/supervising.md"]),
    ("mp-facade/src/", &["docs/guide/processes.md"]),
    ("mp-sys/src/child/", &["docs/guide/processes.md"]),
    ("mp-sys/src/named/", &["docs/guide/objects.md"]),
    ("mp-sys/src/memory.rs", &["docs/guide/objects.md"]),
    ("shm-core/src/", &["docs/guide/objects.md", "docs/guide/synchronizing.md"]),
];
/// The files with the limits.
pub(super) const LIMITS: &[&str] = &["manager-rt/src/limits.rs", "kernel-ipc/src/limits.rs"];
/// The page with a row for each of them.
pub(super) const PAGE: &str = "docs/guide/limits.md";

/// Returns the pages for the errors of a file.
pub(super) fn pages_for(path: &str) -> &'static [&'static str] {
    ERRORS.iter().find(|(folder, _)| path.starts_with(folder)).map_or(&[], |(_, pages)| pages)
}

/// Returns the variants of public errors that have no row.
pub(super) fn errors(file: &RustFile, pages: &[&TextFile]) -> Vec<Finding> {
    let enums = file.syntax.items.iter().filter_map(|item| match item {
        Item::Enum(item) if is_public(&item.vis) && is_error(&item.ident.to_string()) => Some(item),
        _ => None,
    });
    let names = enums.flat_map(|item| item.variants.iter().map(move |variant| (&item.ident, &variant.ident)));
    let described: Vec<_> = names.map(|(of, name)| (name, format!("`{of}::{name}`"))).collect();
    missing(&file.path, &described, pages)
}

/// Returns the public constants that have no row.
pub(super) fn limits(file: &RustFile, page: &TextFile) -> Vec<Finding> {
    let constants = file.syntax.items.iter().filter_map(|item| match item {
        Item::Const(item) if is_public(&item.vis) => Some(&item.ident),
        _ => None,
    });
    let described: Vec<_> = constants.map(|name| (name, format!("`{name}`"))).collect();
    missing(&file.path, &described, &[page])
}

fn missing(path: &str, described: &[(&syn::Ident, String)], pages: &[&TextFile]) -> Vec<Finding> {
    if described.is_empty() || pages.is_empty() {
        return Vec::new();
    }
    let named: HashSet<&str> = pages.iter().flat_map(|page| names_in_rows(&page.text)).collect();
    let without = described.iter().filter(|(name, _)| !named.contains(name.to_string().as_str()));
    let paths: Vec<_> = pages.iter().map(|page| page.path.as_str()).collect();
    without
        .map(|(name, text)| {
            let message = format!("{text} has no row in {}", paths.join(" or "));
            Finding::new(path, name.span().start().line, message)
        })
        .collect()
}

fn is_error(name: &str) -> bool {
    name.ends_with("Error") || name == "Fault"
}

/// Returns all names in backticks in the rows of a page's tables.
fn names_in_rows(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| line.starts_with('|')).flat_map(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::fixture;

    const SOURCE: &str = "\
pub enum PutError {
    Full,
    Closed(u32),
}
enum HiddenError { A }
pub enum Kind { B }
pub const ITEMS_MAX: usize = 5;
const PRIVATE: usize = 6;
";

    #[test]
    fn errors_and_limits_without_a_row_are_found() {
        let file = fixture::rust("kernel-ipc/src/queue/error.rs", SOURCE);
        let page =
            fixture::text("page.md", "`PutError::Closed`, `ITEMS_MAX`\n| `PutError::Full` | Closed |\n");
        assert_eq!(fixture::lines(&errors(&file, &[&page])), [3]);
        let found = limits(&file, &page);
        assert_eq!(found[0].message, "`ITEMS_MAX` has no row in page.md");
        assert_eq!((found.len(), found[0].line), (1, 7));
    }

    #[test]
    fn a_row_may_name_several_things_and_may_be_on_another_page() {
        let file = fixture::rust("a.rs", SOURCE);
        let one = fixture::text("one.md", "| x | `PutError::Full`, `Empty` |\n| `ITEMS_MAX`, `put` | 5 |\n");
        let other = fixture::text("other.md", "| `Closed(number)` of both | x |\n");
        assert_eq!(errors(&file, &[&one, &other]), []);
        assert_eq!(limits(&file, &one), []);
        assert_eq!(pages_for("kernel-ipc/src/queue/error.rs"), ["docs/guide/queues.md"]);
        assert_eq!(pages_for("xtask/src/main.rs"), [""; 0]);
        assert_eq!(errors(&file, &[]), [], "no page is for its errors");
    }
}

//! Checks that the front page of `mp` has the README's table and names each public type under its tier.
//!
//! rustdoc lists the types of a crate in one row of names. Users find a type by the tables of `mp-facade/src/front`, so a type
//! that is missing there is hard to find.

use syn::Item;

use crate::tidy::imports::is_public;
use crate::tidy::rows::types_of;
use crate::tidy::{Finding, RustFile, TextFile};

/// The crate that has the front page.
pub(super) const FACADE: &str = "mp-facade/src/lib.rs";
/// The folder of its tables.
pub(super) const FOLDER: &str = "mp-facade/src/front/";
/// The README of the workspace, and the README of the crate, which is the beginning of the front page.
pub(super) const READMES: (&str, &str) = ("README.md", "mp-facade/README.md");
/// The heading above the table.
const HEADING: &str = "## Which object do I want?";

/// Returns the public types of the facade that no table names in a link.
pub(super) fn names_all(facade: &RustFile, pages: &[&TextFile]) -> Vec<Finding> {
    let mut types = Vec::new();
    for item in &facade.syntax.items {
        match item {
            Item::Use(item) if is_public(&item.vis) => types_of(&item.tree, &mut types),
            Item::Struct(item) if is_public(&item.vis) => types.push(item.ident.clone()),
            Item::Enum(item) if is_public(&item.vis) => types.push(item.ident.clone()),
            _ => {}
        }
    }
    let is_linked = |name: &str| pages.iter().any(|page| page.text.contains(&format!("[`{name}`]")));
    types.retain(|name| !is_linked(&name.to_string()));
    types
        .into_iter()
        .map(|name| {
            let message = format!("the public type `{name}` is in no table of {FOLDER}");
            Finding::new(&facade.path, name.span().start().line, message)
        })
        .collect()
}

/// Checks that both READMEs have the same table of objects.
pub(super) fn same_table(root: &TextFile, krate: &TextFile) -> Vec<Finding> {
    let (Some(expected), found) = (table(root), table(krate)) else {
        return vec![Finding::new(&root.path, 1, format!("there is no table under `{HEADING}`"))];
    };
    if found.as_ref().is_some_and(|(_, rows)| *rows == expected.1) {
        return Vec::new();
    }
    let line = found.map_or(1, |(line, _)| line);
    vec![Finding::new(
        &krate.path,
        line,
        format!("the table under `{HEADING}` differs from that of {}", root.path),
    )]
}

/// Returns the line of the heading, and the rows below it.
fn table(file: &TextFile) -> Option<(usize, Vec<&str>)> {
    let at = file.text.lines().position(|line| line == HEADING)?;
    let below = file.text.lines().skip(at + 1).skip_while(|line| line.is_empty());
    let rows: Vec<_> = below.take_while(|line| line.starts_with('|')).collect();
    (!rows.is_empty()).then_some((at + 1, rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::fixture;

    #[test]
    fn types_that_no_table_names_are_found() {
        let facade = fixture::rust(
            "lib.rs",
            "pub use a::{Known, wait};\npub use b::Unknown;\nuse c::Private;\npub enum Other {}\n",
        );
        let page = fixture::text("page.md", "| [`Known`] | x |\n`Unknown` and [`Unknown::new`]\n");
        assert_eq!(fixture::lines(&names_all(&facade, &[&page])), [2, 4]);
    }

    #[test]
    fn tables_that_differ_are_found() {
        let root = fixture::text(
            "README.md",
            "x\n\n## Which object do I want?\n\n| a | b |\n|---|---|\n| c | d |\n\ny\n",
        );
        let same =
            fixture::text("mp/README.md", "## Which object do I want?\n\n| a | b |\n|---|---|\n| c | d |\n");
        let other = fixture::text("mp/README.md", "z\n## Which object do I want?\n\n| a | b |\n|---|---|\n");
        let none = fixture::text("mp/README.md", "z\n");
        assert_eq!(same_table(&root, &same), []);
        assert_eq!(fixture::lines(&same_table(&root, &other)), [2]);
        assert_eq!(fixture::lines(&same_table(&root, &none)), [1]);
        assert_eq!(fixture::lines(&same_table(&none, &root)), [1]);
    }
}

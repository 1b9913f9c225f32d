//! Checks that everything a backend can promise is checked and documented: each field of `Caps` switches something in the
//! conformance tests, and has a row in the guide.

use syn::{Fields, Item};

use crate::tidy::{Finding, RustFile, TextFile};

/// The file with the fields.
pub(super) const CAPS: &str = "manager-rt/src/backend/caps.rs";
/// The page with a row for each of them.
pub(super) const PAGE: &str = "docs/guide/managers.md";
/// The conformance tests.
pub(super) const TESTS: &str = "manager-rt/src/conformance";

/// Returns the fields that no test looks at, and those without a row.
pub(super) fn check(caps: &RustFile, tests: &[&RustFile], page: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for field in fields(caps) {
        let (name, line) = (field.to_string(), field.span().start().line);
        if !tests.iter().any(|test| reads(&test.text, &name)) {
            let message = format!("no conformance test looks at `{name}` of `Caps`");
            findings.push(Finding::new(&caps.path, line, message));
        }
        let row = format!("| `{name}` |");
        if !page.text.lines().any(|line| line.starts_with(&row)) {
            let message = format!("`{name}` of `Caps` has no row in {}", page.path);
            findings.push(Finding::new(&caps.path, line, message));
        }
    }
    if findings.is_empty() && fields(caps).is_empty() {
        findings.push(Finding::new(&caps.path, 1, "there is no `struct Caps` with fields"));
    }
    findings
}

fn fields(caps: &RustFile) -> Vec<&syn::Ident> {
    let structs = caps.syntax.items.iter().filter_map(|item| match item {
        Item::Struct(item) if item.ident == "Caps" => Some(&item.fields),
        _ => None,
    });
    let named = structs.filter_map(|fields| match fields {
        Fields::Named(fields) => Some(&fields.named),
        _ => None,
    });
    named.flatten().filter_map(|field| field.ident.as_ref()).collect()
}

/// Returns `true` if a text reads this field of some capabilities.
fn reads(text: &str, field: &str) -> bool {
    text.match_indices(&format!("caps.{field}")).chain(text.match_indices(&format!("caps().{field}"))).any(
        |(at, found)| {
            let after = text[at + found.len()..].chars().next();
            !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::fixture;

    #[test]
    fn fields_without_a_test_or_a_row_are_found() {
        let caps =
            fixture::rust("caps.rs", "pub struct Caps {\n    pub fair: bool,\n    pub fairest: bool,\n}\n");
        let test = fixture::rust("lock.rs", "fn f() { if client.caps().fairest {} }\n");
        let page = fixture::text("page.md", "| `fair` | x |\n");
        let found: Vec<_> = check(&caps, &[&test], &page).into_iter().map(|found| found.message).collect();
        let expected =
            ["no conformance test looks at `fair` of `Caps`", "`fairest` of `Caps` has no row in page.md"];
        assert_eq!(found, expected);
    }

    #[test]
    fn complete_fields_are_left_alone() {
        let caps = fixture::rust("caps.rs", "pub struct Caps {\n    pub fair: bool,\n}\n");
        let test = fixture::rust("lock.rs", "fn f() { assert!(!caps.fair) }\n");
        let page = fixture::text("page.md", "| `fair` | x |\n");
        assert_eq!(check(&caps, &[&test], &page), []);
        let none = fixture::rust("caps.rs", "pub struct Other;\n");
        assert_eq!(check(&none, &[&test], &page).len(), 1);
    }
}

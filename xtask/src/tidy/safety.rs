//! What the project must say about `unsafe`: a comment at each block and impl, and a place in `docs/SAFETY.md` for each
//! file.
//!
//! Clippy requires the comments too, but it sees one platform and one set of features at a time, so it would miss code
//! for another platform. This check is the more lenient one: it accepts a comment anywhere between the lines above the
//! enclosing statement and the block.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::tidy::census::Count;
use crate::tidy::{Finding, RustFile, TextFile};

/// The document with the argument for every file that contains `unsafe`.
pub(super) const NOTE: &str = "docs/SAFETY.md";

/// Returns the findings about files that the document omits, and about files that it names but that do not exist.
pub(super) fn check_note(files: &[RustFile], note: Option<&TextFile>) -> Vec<Finding> {
    let counts = files.iter().map(|file| (file.path.as_str(), Count::of(file)));
    let with_unsafe: Vec<_> = counts.filter(|(_, count)| count.total() > 0).collect();
    let Some(note) = note else {
        let message = format!("the file is missing, and {} files contain `unsafe`", with_unsafe.len());
        return if with_unsafe.is_empty() { Vec::new() } else { vec![Finding::new(NOTE, 1, message)] };
    };
    let named: Vec<_> = named_files(&note.text).collect();
    let mut findings = Vec::new();
    for (path, count) in with_unsafe {
        if !named.iter().any(|(_, name)| *name == path) {
            let message = format!("{NOTE} does not name `{path}`, which contains `unsafe`");
            findings.push(Finding::new(path, count.first_line, message));
        }
    }
    for (line, name) in named {
        if !files.iter().any(|file| file.path == name) {
            findings.push(Finding::new(NOTE, line, format!("there is no file `{name}`")));
        }
    }
    findings
}

/// Every word in the text that looks like the path of a Rust file, with its line.
fn named_files(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let of_path = |c: char| c.is_ascii_alphanumeric() || "/_-.".contains(c);
    text.lines().enumerate().flat_map(move |(index, line)| {
        // Links begin with `../`, and a full stop may end the sentence.
        let words =
            line.split(move |c| !of_path(c)).map(|word| word.trim_start_matches("../").trim_end_matches('.'));
        words.filter(|word| word.contains('/') && word.ends_with(".rs")).map(move |word| (index + 1, word))
    })
}

/// Returns the findings about blocks and impls without a comment.
pub(super) fn check_comments(file: &RustFile) -> Vec<Finding> {
    let mut sites = Sites::default();
    sites.visit_file(&file.syntax);
    let lines: Vec<&str> = file.text.lines().collect();
    let bare = sites.found.into_iter().filter(|site| !is_documented(site, &lines));
    bare.map(|site| Finding::new(&file.path, site.line, "`unsafe` without a `// SAFETY:` comment above it"))
        .collect()
}

/// One `unsafe` block or impl.
struct Site {
    /// The line of the word `unsafe`.
    line: usize,
    /// The first line of the innermost statement, arm, field or item around it.
    outer: usize,
}

fn is_documented(site: &Site, lines: &[&str]) -> bool {
    let between = lines.get(site.outer.saturating_sub(1)..site.line).unwrap_or_default();
    let above = lines.get(..site.outer.saturating_sub(1)).unwrap_or_default();
    let above = above.iter().rev().take_while(|line| {
        let line = line.trim_start();
        line.starts_with("//") || line.starts_with("#[") || line.starts_with('*') || line.ends_with("*/")
    });
    between.iter().chain(above).any(|line| line.contains("SAFETY:"))
}

#[derive(Default)]
struct Sites {
    found: Vec<Site>,
    outer: Vec<usize>,
}

impl Sites {
    fn inside(&mut self, node: &impl Spanned, visit: impl FnOnce(&mut Self)) {
        self.outer.push(node.span().start().line);
        visit(self);
        self.outer.pop();
    }

    fn add(&mut self, line: usize) {
        self.found.push(Site { line, outer: self.outer.last().copied().unwrap_or(line) });
    }
}

impl<'ast> Visit<'ast> for Sites {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        self.inside(item, |sites| visit::visit_item(sites, item));
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        self.inside(item, |sites| visit::visit_impl_item(sites, item));
    }

    fn visit_trait_item(&mut self, item: &'ast syn::TraitItem) {
        self.inside(item, |sites| visit::visit_trait_item(sites, item));
    }

    fn visit_stmt(&mut self, statement: &'ast syn::Stmt) {
        self.inside(statement, |sites| visit::visit_stmt(sites, statement));
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        self.inside(arm, |sites| visit::visit_arm(sites, arm));
    }

    fn visit_field_value(&mut self, field: &'ast syn::FieldValue) {
        self.inside(field, |sites| visit::visit_field_value(sites, field));
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.add(block.unsafe_token.span.start().line);
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let Some(word) = &item.unsafety {
            self.add(word.span.start().line);
        }
        visit::visit_item_impl(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::fixture;

    fn bare(text: &str) -> Vec<usize> {
        fixture::lines(&check_comments(&fixture::rust("mp-sys/src/x.rs", text)))
    }

    #[test]
    fn a_block_without_a_comment_is_found() {
        assert_eq!(bare("fn f() {\n    unsafe { g() }\n}"), [2]);
        assert_eq!(bare("fn f() {\n    // why\n    unsafe { g() }\n}"), [3]);
        assert_eq!(bare("#[cfg(windows)]\nmod other {\n    fn f() { unsafe { g() } }\n}"), [3]);
        assert_eq!(bare("unsafe impl Send for X {}"), [1]);
    }

    #[test]
    fn the_comment_of_another_statement_does_not_count() {
        assert_eq!(bare("fn f() {\n    // SAFETY: a fact\n    unsafe { g() };\n    unsafe { h() }\n}"), [4]);
        assert_eq!(bare("// SAFETY: of f\nfn f() {\n    unsafe { g() }\n}"), [3]);
        assert_eq!(bare("fn f() {\n    unsafe {\n        // SAFETY: too late\n        g()\n    }\n}"), [2]);
    }

    #[test]
    fn comments_are_accepted_where_clippy_accepts_them() {
        let accepted = [
            "fn f() {\n    // SAFETY: a fact\n    // in two lines\n    unsafe { g() }\n}",
            "fn f() {\n    // SAFETY: a fact\n    let x = h(\n        unsafe { g() },\n    );\n}",
            "fn f() {\n    let x =\n        // SAFETY: a fact\n        unsafe { g() };\n}",
            "fn f() {\n    // SAFETY: a fact\n    #[cfg(x)]\n    unsafe { g() }\n}",
            "fn f() { match x {\n    // SAFETY: a fact\n    1 => unsafe { g() },\n    _ => {}\n} }",
            "// SAFETY: a fact\nstatic X: T = unsafe { g() };",
            "/* SAFETY: a fact */\nunsafe impl Send for X {}",
            "// SAFETY: a fact\n#[cfg(x)]\nunsafe impl Send for X {}",
        ];
        for text in accepted {
            assert_eq!(bare(text), fixture::NOWHERE, "{text}");
        }
    }

    #[test]
    fn files_that_the_note_omits_are_found() {
        let files = [
            fixture::rust("mp-sys/src/a.rs", "fn f() { unsafe { g() } }"),
            fixture::rust("mp-sys/src/c.rs", "fn f() { unsafe { g() } }"),
            fixture::rust("mp-sys/src/a/b.rs", "\nfn f() { unsafe { g() } }"),
            fixture::rust("mp-sys/src/safe.rs", "fn f() {}"),
        ];
        let note = fixture::text(
            NOTE,
            "# x\n- [`mp-sys/src/a.rs`](../mp-sys/src/a.rs): a fact.\nAs mp-sys/src/c.rs.\n",
        );
        let found = check_note(&files, Some(&note));
        assert_eq!(found, [Finding::new("mp-sys/src/a/b.rs", 2, found[0].message.clone())]);
    }

    #[test]
    fn a_note_about_a_file_that_is_gone_is_found() {
        let note = fixture::text(NOTE, "one\n`mp-sys/src/gone.rs`, and `fork.rs` in passing\n");
        assert_eq!(fixture::lines(&check_note(&[], Some(&note))), [2]);
    }

    #[test]
    fn a_missing_note_is_one_finding() {
        let text = "fn f() { unsafe { g() } }";
        let files = [fixture::rust("mp-sys/src/a.rs", text), fixture::rust("mp-sys/src/b.rs", text)];
        assert_eq!(check_note(&files, None).len(), 1);
        assert_eq!(check_note(&[], None), []);
    }
}

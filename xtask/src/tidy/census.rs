//! Counts `unsafe`: where it appears, and how often.
//!
//! `unsafe` may appear only in `mp-sys`, in the raw primitives that benchmarks compare with, and in fuzz entry points.
//! The crates above forbid it in their `lib.rs`. The lint of the same name would be enough for what the compiler sees.
//! This census also sees code for other platforms and features, and the insides of macros. It counts syntax: it does
//! not see code in documentation comments.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use crate::tidy::{Finding, RustFile};

/// Crates whose `lib.rs` opens with `#![forbid(unsafe_code)]`.
const SAFE_CRATES: [&str; 4] = ["shm-core", "kernel-ipc", "manager-rt", "mp-facade"];

/// How often `unsafe` occurs in one file, by purpose.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    /// `unsafe { … }`
    pub(super) blocks: usize,
    /// `unsafe fn`, with and without a body.
    pub(super) functions: usize,
    /// `unsafe impl`
    pub(super) impls: usize,
    /// `unsafe trait`
    pub(super) traits: usize,
    /// `unsafe extern { … }`: declarations that the linker believes.
    pub(super) externs: usize,
    /// `#[unsafe(no_mangle)]` and the like.
    pub(super) attributes: usize,
    /// The word inside macros that are called or defined here; what it introduces there is unknown.
    pub(super) in_macros: usize,
    /// The line of the first occurrence.
    pub(super) first_line: usize,
}

impl Count {
    pub(super) fn of(file: &RustFile) -> Self {
        let mut counter = Counter::default();
        counter.visit_file(&file.syntax);
        counter.0
    }

    pub(super) fn total(&self) -> usize {
        self.columns().iter().sum()
    }

    fn columns(&self) -> [usize; 7] {
        [self.blocks, self.functions, self.impls, self.traits, self.externs, self.attributes, self.in_macros]
    }
}

/// Returns the findings about `unsafe` in the wrong place, and about crates that do not forbid it.
pub(super) fn check(files: &[RustFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let count = Count::of(file);
        if count.total() > 0 && !may_be_unsafe(&file.path) {
            let message = "`unsafe` belongs in mp-sys, behind a safe function";
            findings.push(Finding::new(&file.path, count.first_line, message));
        }
        let safe_root = SAFE_CRATES.iter().any(|krate| file.path == format!("{krate}/src/lib.rs"));
        if safe_root && !forbids_unsafe(&file.syntax) {
            findings.push(Finding::new(&file.path, 1, "`#![forbid(unsafe_code)]` is missing"));
        }
    }
    findings
}

/// The census, file by file.
pub(super) fn table(files: &[RustFile]) -> String {
    let rows: Vec<_> = files.iter().map(|file| (file.path.as_str(), Count::of(file))).collect();
    let rows: Vec<_> = rows.into_iter().filter(|(_, count)| count.total() > 0).collect();
    let mut sum = [0; 7];
    for (_, count) in &rows {
        sum.iter_mut().zip(count.columns()).for_each(|(sum, column)| *sum += column);
    }
    let width = rows.iter().map(|(path, _)| path.len()).max().unwrap_or(0).max("total".len());
    let line = |path: &str, columns: [String; 7]| {
        let columns: String = columns.iter().map(|column| format!("  {column:>9}")).collect();
        format!("{path:width$}{columns}\n")
    };
    let heads = ["blocks", "fns", "impls", "traits", "externs", "attrs", "in macros"];
    let mut table = line("file", heads.map(str::to_owned));
    for (path, count) in &rows {
        table.push_str(&line(path, count.columns().map(|column| column.to_string())));
    }
    table.push_str(&line("total", sum.map(|column| column.to_string())));
    table
}

fn may_be_unsafe(path: &str) -> bool {
    path.starts_with("mp-sys/")
        || path.starts_with("xtask/benches/reference/")
        || path.split('/').nth(1) == Some("fuzz")
}

fn forbids_unsafe(file: &syn::File) -> bool {
    file.attrs.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return false;
        };
        let names = list.tokens.clone().into_iter().any(|token| token.to_string() == "unsafe_code");
        list.path.is_ident("forbid") && names
    })
}

#[derive(Default)]
struct Counter(Count);

impl Counter {
    fn at(&mut self, line: usize) {
        let first = &mut self.0.first_line;
        *first = if *first == 0 { line } else { line.min(*first) };
    }

    fn tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Ident(word) if word == "unsafe" => {
                    self.0.in_macros += 1;
                    self.at(word.span().start().line);
                }
                TokenTree::Group(group) => self.tokens(group.stream()),
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Counter {
    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.0.blocks += 1;
        self.at(block.unsafe_token.span.start().line);
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if let Some(word) = &signature.unsafety {
            self.0.functions += 1;
            self.at(word.span.start().line);
        }
        visit::visit_signature(self, signature);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let Some(word) = &item.unsafety {
            self.0.impls += 1;
            self.at(word.span.start().line);
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        if let Some(word) = &item.unsafety {
            self.0.traits += 1;
            self.at(word.span.start().line);
        }
        visit::visit_item_trait(self, item);
    }

    fn visit_item_foreign_mod(&mut self, item: &'ast syn::ItemForeignMod) {
        // What is declared inside counts once, as the block that contains it.
        self.0.externs += 1;
        self.at(item.abi.extern_token.span.start().line);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if attribute.path().is_ident("unsafe") {
            self.0.attributes += 1;
            self.at(attribute.pound_token.span.start().line);
        }
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::fixture;

    const EVERYTHING: &str = r#"
        unsafe extern "C" { fn one(); safe fn two(); }
        #[unsafe(no_mangle)]
        pub extern "C" fn three() { unsafe { one() }; }
        unsafe trait Four { unsafe fn five(&self); }
        unsafe impl Four for u8 { unsafe fn five(&self) { unsafe { one() } } }
        #[cfg(windows)]
        mod other { fn six() { let f = || unsafe { super::one() }; } }
        macro_rules! seven { () => { unsafe { one() } }; }
        fn eight() { assert_eq!((unsafe { one() }), ()); }
    "#;

    #[test]
    fn every_kind_is_counted() {
        let count = Count::of(&fixture::rust("mp-sys/src/x.rs", EVERYTHING));
        let expected = Count {
            blocks: 3,
            functions: 2,
            impls: 1,
            traits: 1,
            externs: 1,
            attributes: 1,
            in_macros: 2,
            first_line: 2,
        };
        assert_eq!(count, expected);
    }

    #[test]
    fn mentions_are_not_counted() {
        let text = "//! unsafe { }\n#![deny(unsafe_code)]\n/// `unsafe fn`\nfn f(g: unsafe fn()) { let x = \"unsafe {}\"; }";
        assert_eq!(Count::of(&fixture::rust("x/src/x.rs", text)).total(), 0);
    }

    #[test]
    fn unsafe_in_the_wrong_place_is_found() {
        let text = "//! x\n\nfn f() { unsafe { g() } }";
        for path in
            ["shm-core/src/value.rs", "shm-core/tests/it/main.rs", "xtask/benches/speed.rs", "fuzz/src/x.rs"]
        {
            let found = check(&[fixture::rust(path, text)]);
            assert_eq!(fixture::lines(&found), [3], "{path}");
        }
        let allowed =
            ["mp-sys/src/x.rs", "mp-sys/tests/x.rs", "xtask/benches/reference/raw.rs", "shm-core/fuzz/x.rs"];
        for path in allowed {
            assert_eq!(check(&[fixture::rust(path, text)]), [], "{path}");
        }
    }

    #[test]
    fn a_tier_that_does_not_forbid_it_is_found() {
        let deny = "//! #![forbid(unsafe_code)]\n#![deny(unsafe_code)]\n";
        assert_eq!(check(&[fixture::rust("shm-core/src/lib.rs", deny)]).len(), 1);
        let forbid = "//! x\n#![forbid(unsafe_code)]\n";
        assert_eq!(check(&[fixture::rust("shm-core/src/lib.rs", forbid)]), []);
        assert_eq!(check(&[fixture::rust("shm-core/src/value.rs", deny)]), []);
        assert_eq!(check(&[fixture::rust("docs/src/lib.rs", deny)]), []);
    }

    #[test]
    fn the_table_lists_files_and_the_sum() {
        let files = [
            fixture::rust("mp-sys/src/a.rs", EVERYTHING),
            fixture::rust("mp-sys/src/b.rs", "fn f() { unsafe { g() } }"),
            fixture::rust("mp-sys/src/c.rs", "fn f() {}"),
        ];
        let table = table(&files);
        let columns: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(columns[2], ["mp-sys/src/b.rs", "1", "0", "0", "0", "0", "0", "0"]);
        assert_eq!(columns[3], ["total", "4", "2", "1", "1", "1", "1", "2"]);
        assert_eq!(columns.len(), 4);
    }
}

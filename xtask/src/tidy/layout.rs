//! The outer form of a Rust file: it opens with its documentation, and it is not a drawer for everything.

use crate::tidy::{Finding, RustFile};

/// A file with more lines than this holds more than one idea, or must say why it does not.
const LINES_MAX: usize = 400;
/// No reason is good enough for more lines than this.
const LINES_HARD_MAX: usize = 700;

/// A file that may be longer than `LINES_MAX`.
struct Exemption {
    path: &'static str,
    lines_max: usize,
    /// Why splitting the file would make it worse.
    reason: &'static str,
}

/// The files that may be longer, and why. An entry that is no longer needed is a finding too.
const LONG_FILES: &[Exemption] = &[];

/// The folders of a package whose files open with `//!`. A build script or a fuzz target need not.
const DOCUMENTED_FOLDERS: [&str; 4] = ["src", "tests", "examples", "benches"];

/// Returns the findings about one file.
pub(super) fn check(file: &RustFile) -> Vec<Finding> {
    check_with(file, LONG_FILES)
}

fn check_with(file: &RustFile, exemptions: &[Exemption]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let documented = file.path.split('/').any(|part| DOCUMENTED_FOLDERS.contains(&part));
    // A crate may use its README as its page.
    let is_readme = file.path.ends_with("src/lib.rs") && file.text.starts_with("#![doc = include_str!(");
    if documented && !file.text.starts_with("//!") && !is_readme {
        let message =
            "the first line must be `//!`: say what the file holds, why this way, and its invariants";
        findings.push(Finding::new(&file.path, 1, message));
    }
    let lines = file.text.lines().count();
    let exempt = exemptions.iter().find(|exemption| exemption.path == file.path);
    let lines_max = exempt.map_or(LINES_MAX, |exemption| exemption.lines_max.min(LINES_HARD_MAX));
    if lines > lines_max {
        let message = format!("{lines} lines, and at most {lines_max} are allowed: split it by ideas");
        findings.push(Finding::new(&file.path, lines, message));
    }
    findings
}

/// Returns the findings about exemptions that are not needed, not explained, or too generous.
pub(super) fn check_exemptions(files: &[RustFile]) -> Vec<Finding> {
    check_exemptions_with(files, LONG_FILES)
}

fn check_exemptions_with(files: &[RustFile], exemptions: &[Exemption]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for Exemption { path, lines_max, reason } in exemptions {
        let mut report = |message: &str| {
            findings.push(Finding::new(path, 1, format!("its exemption {message}")));
        };
        match files.iter().find(|file| file.path == *path) {
            None => report("is for a file that does not exist"),
            Some(file) if file.text.lines().count() <= LINES_MAX => {
                report("is no longer needed");
            }
            Some(_) => {}
        }
        if *lines_max > LINES_HARD_MAX {
            report(&format!("allows more than {LINES_HARD_MAX} lines"));
        }
        if reason.is_empty() {
            report("gives no reason");
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::fixture;

    fn long(path: &str, lines: usize) -> RustFile {
        fixture::rust(path, &format!("//! x\n{}", "\n".repeat(lines - 1)))
    }

    #[test]
    fn a_file_that_does_not_open_with_its_documentation_is_found() {
        for path in ["a/src/x.rs", "a/tests/it/main.rs", "a/examples/x.rs", "a/benches/x.rs"] {
            assert_eq!(fixture::lines(&check(&fixture::rust(path, "// x\n//! y\n"))), [1], "{path}");
            assert_eq!(check(&fixture::rust(path, "//! y\n")), [], "{path}");
        }
        assert_eq!(check(&fixture::rust("a/build.rs", "fn main() {}")), []);
        assert_eq!(check(&fixture::rust("a/fuzz/fuzz_targets/x.rs", "#![no_main]")), []);
    }

    #[test]
    fn a_crate_may_open_with_its_readme() {
        let text = "#![doc = include_str!(\"../README.md\")]\n";
        assert_eq!(check(&fixture::rust("a/src/lib.rs", text)), []);
        assert_eq!(check(&fixture::rust("a/src/x.rs", text)).len(), 1);
        assert_eq!(check(&fixture::rust("a/src/lib.rs", "#![forbid(unsafe_code)]\n//! x\n")).len(), 1);
    }

    #[test]
    fn long_files_are_found() {
        assert_eq!(check(&long("a/src/x.rs", 400)), []);
        assert_eq!(fixture::lines(&check(&long("a/src/x.rs", 401))), [401]);
    }

    #[test]
    fn an_exemption_has_a_limit_of_its_own() {
        let exemptions = [Exemption { path: "a/src/x.rs", lines_max: 500, reason: "one table" }];
        assert_eq!(check_with(&long("a/src/x.rs", 500), &exemptions), []);
        assert_eq!(check_with(&long("a/src/x.rs", 501), &exemptions).len(), 1);
        assert_eq!(check_with(&long("a/src/y.rs", 401), &exemptions).len(), 1);
    }

    #[test]
    fn no_exemption_reaches_beyond_the_hard_limit() {
        let exemptions = [Exemption { path: "a/src/x.rs", lines_max: 900, reason: "one table" }];
        let file = long("a/src/x.rs", 701);
        assert_eq!(check_with(&file, &exemptions).len(), 1);
        assert_eq!(check_exemptions_with(&[file], &exemptions).len(), 1);
    }

    #[test]
    fn exemptions_that_are_not_needed_are_found() {
        let exemption = |reason| [Exemption { path: "a/src/x.rs", lines_max: 500, reason }];
        assert_eq!(check_exemptions_with(&[long("a/src/x.rs", 450)], &exemption("one table")), []);
        assert_eq!(check_exemptions_with(&[long("a/src/x.rs", 450)], &exemption("")).len(), 1);
        assert_eq!(check_exemptions_with(&[long("a/src/x.rs", 400)], &exemption("one table")).len(), 1);
        assert_eq!(check_exemptions_with(&[], &exemption("one table")).len(), 1);
    }
}

//! Checks that examples of re-exported items say `mp::`, in any crate.
//!
//! Users depend on the facade and read its pages, and an example that names an inner crate does not compile for them.
//! So an example in an inner crate renames the crate in a hidden line (`# extern crate shm_core as mp;`), and shows
//! only `mp::`.
//!
//! Only documentation in the sources is checked: the README of an inner crate is its own page, and names the crate.

use crate::tidy::{Finding, RustFile};

/// The crates whose items `mp` re-exports: the folder of their sources, their name, and the hidden line.
const INNER: [(&str, &str, &str); 3] = [
    ("shm-core/src/", "shm_core", "# extern crate shm_core as mp;"),
    ("kernel-ipc/src/", "kernel_ipc", "# extern crate kernel_ipc as mp;"),
    ("manager-rt/src/", "manager_rt", "# mod mp { pub use manager_rt as manager; }"),
];

/// Returns the lines of examples that users see and that name an inner crate.
pub(super) fn check(file: &RustFile) -> Vec<Finding> {
    let Some((_, name, hidden)) = INNER.iter().find(|(folder, ..)| file.path.starts_with(folder)) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let mut in_code = false;
    for (index, line) in file.text.lines().enumerate() {
        let line = line.trim_start();
        let Some(text) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else {
            in_code = false;
            continue;
        };
        let text = text.trim_start();
        if text.starts_with("```") {
            in_code = !in_code;
        } else if in_code && !is_hidden(text) && names(text, name) {
            let message =
                format!("an example names `{name}`: write `mp::`, and begin with the line `{hidden}`");
            findings.push(Finding::new(&file.path, index + 1, message));
        }
    }
    findings
}

/// Whether rustdoc compiles the line without showing it.
fn is_hidden(text: &str) -> bool {
    text == "#" || text.starts_with("# ")
}

/// Whether the line contains the name of the crate as a path.
fn names(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| text[at + name.len()..].starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::fixture;

    fn found(path: &str, text: &str) -> Vec<usize> {
        fixture::lines(&check(&fixture::rust(path, text)))
    }

    #[test]
    fn shown_lines_that_name_an_inner_crate_are_found() {
        let text = "\
//! ```
//! use shm_core::Value;
//! ```
/// text
/// ```no_run
/// # use shm_core::Value;
/// let value = shm_core::Value::new(0)?;
/// ```
struct X;
";
        assert_eq!(found("shm-core/src/x.rs", text), [2, 7]);
        assert_eq!(found("kernel-ipc/src/x.rs", text), fixture::NOWHERE);
    }

    #[test]
    fn prose_and_hidden_lines_and_other_crates_are_left_alone() {
        let text = "\
/// See [`Value`](shm_core::Value).
/// ```
/// # extern crate shm_core as mp;
/// #
/// use mp::Value;
/// ```
/// `shm_core::Value` is the same type.
fn x() { shm_core::y() }
";
        assert_eq!(found("shm-core/src/x.rs", text), fixture::NOWHERE);
        assert_eq!(
            found("mp-facade/src/x.rs", "/// ```\n/// use shm_core::X;\n/// ```\nfn x() {}\n"),
            fixture::NOWHERE
        );
    }
}

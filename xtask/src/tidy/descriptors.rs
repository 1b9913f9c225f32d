//! Only `mp_sys::descriptors` makes descriptors, and keeps them off 0, 1 and 2.
//!
//! The rule knows the functions that the libraries could use, by the last two segments of their paths. It ignores
//! functions that read a file and close it at once, such as `fs::read_to_string`, because nothing that is printed
//! meanwhile can harm them.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::tidy::imports::imports;
use crate::tidy::{Finding, RustFile};

/// The file with the functions that all other code uses.
const HOME: &str = "mp-sys/src/descriptors.rs";

/// The crates whose sources are checked.
const CRATES: [&str; 5] =
    ["mp-sys/src/", "shm-core/src/", "kernel-ipc/src/", "manager-rt/src/", "mp-facade/src/"];

/// The functions that make or receive a descriptor: module or type, and function.
const MAKERS: [(&str, &str); 25] = [
    ("event", "eventfd"),
    ("epoll", "create"),
    ("fs", "memfd_create"),
    ("fs", "open"),
    ("fs", "openat"),
    ("inotify", "init"),
    ("io", "dup"),
    ("io", "fcntl_dupfd_cloexec"),
    ("net", "accept"),
    ("net", "accept_with"),
    ("net", "recvmsg"),
    ("net", "socket"),
    ("net", "socket_with"),
    ("net", "socketpair"),
    ("pipe", "pipe"),
    ("pipe", "pipe_with"),
    ("process", "pidfd_open"),
    ("time", "timerfd_create"),
    ("libc", "signalfd"),
    ("File", "create"),
    ("File", "open"),
    ("OpenOptions", "new"),
    ("Poll", "new"),
    ("UnixStream", "connect"),
    ("UnixListener", "bind"),
];

/// Files that may use one of the functions, because its descriptor still does not end up at 0, 1 or 2.
const EXEMPTIONS: [(&str, &str); 6] = [
    // They move what they have received or made.
    ("mp-sys/src/handoff.rs", "recvmsg"),
    ("mp-sys/src/socket/attempt.rs", "recvmsg"),
    ("mp-sys/src/signals.rs", "signalfd"),
    // It fills the three places, and takes the socket out of one of them.
    ("mp-sys/src/reexec/takeover.rs", "open"),
    ("mp-sys/src/reexec/takeover.rs", "fcntl_dupfd_cloexec"),
    // It uses `beside_standard`.
    ("manager-rt/src/server/builder.rs", "new"),
];

/// Returns the findings about one file.
pub(super) fn check(file: &RustFile) -> Vec<Finding> {
    let is_library = CRATES.iter().any(|krate| file.path.starts_with(krate));
    let is_test = ["/testing/", "/tests/", "/fuzzing/"].iter().any(|folder| file.path.contains(folder))
        || ["tests.rs", "plain_client.rs", "fuzzing.rs"].iter().any(|name| file.path.ends_with(name));
    if !is_library || is_test || file.path == HOME {
        return Vec::new();
    }
    let mut finder = Finder { path: &file.path, findings: Vec::new() };
    finder.visit_file(&file.syntax);
    finder.findings
}

struct Finder<'file> {
    path: &'file str,
    findings: Vec<Finding>,
}

impl Finder<'_> {
    fn look(&mut self, segments: &[String], line: usize) {
        let [.., module, function] = segments else { return };
        let is_maker = MAKERS.contains(&(module.as_str(), function.as_str()));
        // The functions of the workspace have the same names.
        let is_ours = segments.iter().any(|segment| segment == "descriptors") || segments == ["pipe", "pipe"];
        if is_maker && !is_ours && !EXEMPTIONS.contains(&(self.path, function.as_str())) {
            let message = format!(
                "`{module}::{function}` may return 0, 1 or 2, where a print harms the file: use `mp_sys::descriptors`"
            );
            self.findings.push(Finding::new(self.path, line, message));
        }
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    let is_test = |attribute: &syn::Attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    };
    attributes.iter().any(is_test)
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        for import in imports(item) {
            self.look(&import.path, item.span().start().line);
        }
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        let segments: Vec<String> =
            path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.look(&segments, path.span().start().line);
        visit::visit_expr_path(self, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::fixture::{NOWHERE, lines, rust};

    const PATH: &str = "shm-core/src/value.rs";

    #[test]
    fn makers_are_found_in_imports_and_paths() {
        let text = "use rustix::{event::{EventfdFlags, eventfd}, io::Errno};\n\
                    fn f() {\n\
                    rustix::net::socketpair();\n\
                    std::fs::File::open(\"x\");\n\
                    }";
        assert_eq!(lines(&check(&rust(PATH, text))), [1, 3, 4]);
    }

    #[test]
    fn functions_of_the_workspace_and_tests_are_left_alone() {
        let text = "use mp_sys::descriptors::eventfd;\n\
                    fn f() { descriptors::open(); std::fs::read_to_string(\"x\"); Self::open(); }\n\
                    #[cfg(test)] mod tests { use rustix::event::eventfd; }";
        assert_eq!(lines(&check(&rust(PATH, text))), NOWHERE);
        let text = "use rustix::event::eventfd;";
        assert_eq!(lines(&check(&rust("shm-core/tests/it/value.rs", text))), NOWHERE);
        assert_eq!(lines(&check(&rust(HOME, text))), NOWHERE);
    }

    #[test]
    fn an_exemption_is_for_one_function_of_one_file() {
        let text = "use rustix::net::{recvmsg, socketpair};\nuse rustix::net::recvmsg;";
        assert_eq!(lines(&check(&rust("mp-sys/src/handoff.rs", text))), [1]);
    }
}

//! Checks that words that users search for lead to the item that they need, by `#[doc(alias = "…")]`.
//!
//! The words are names from other libraries: std, Python and the system. rustdoc's search finds an item by its aliases.

use syn::visit::Visit;
use syn::{Attribute, Ident};

use crate::tidy::{Finding, RustFile};

/// A word, and the item to which it must lead.
const WANTED: [(&str, &str); 26] = [
    ("Atomic", "RawValue"),
    ("BrokenBarrierError", "BarrierError"),
    ("Client", "connect"),
    ("Condvar", "Condition"),
    ("DupFd", "Descriptor"),
    ("EOFError", "RecvError"),
    ("HashMap", "Dict"),
    ("Mutex", "Lock"),
    ("Mutex", "Value"),
    ("Pipe", "duplex"),
    ("PoisonError", "LockError"),
    ("Pool", "JoinableQueue"),
    ("Process", "fork"),
    ("ProcessPoolExecutor", "JoinableQueue"),
    ("SCM_RIGHTS", "Descriptor"),
    ("SyncManager", "Manager"),
    ("Vec", "List"),
    ("channel", "pipe"),
    ("exitcode", "join"),
    ("mmap", "RawArray"),
    ("notify_one", "notify"),
    ("poll", "wait"),
    ("put_nowait", "try_put"),
    ("select", "wait"),
    ("task_done", "done"),
    ("waitpid", "join"),
];

/// The crates whose items users see.
const CRATES: [&str; 4] = ["shm-core/src/", "kernel-ipc/src/", "manager-rt/src/", "mp-facade/src/"];

/// Returns the words of the list that lead nowhere.
pub(super) fn check<'a>(files: impl IntoIterator<Item = &'a RustFile>) -> Vec<Finding> {
    let mut found = Found::default();
    for file in files {
        if CRATES.iter().any(|folder| file.path.starts_with(folder)) {
            found.visit_file(&file.syntax);
        }
    }
    let is_missing =
        |(word, item): &&(&str, &str)| !found.aliases.iter().any(|(alias, of)| alias == word && of == item);
    let missing = WANTED.iter().filter(is_missing);
    missing
        .map(|(word, item)| {
            let message = format!("no `{item}` has `#[doc(alias = \"{word}\")]`, which users search for");
            Finding::new("xtask/src/tidy/aliases.rs", 1, message)
        })
        .collect()
}

/// The aliases, with the names of their items.
#[derive(Default)]
struct Found {
    aliases: Vec<(String, String)>,
}

impl Found {
    fn add(&mut self, name: &Ident, attributes: &[Attribute]) {
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
            // Other forms of `doc`, such as the text itself, are not lists of names and values.
            let _other = attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("alias") {
                    let alias: syn::LitStr = meta.value()?.parse()?;
                    self.aliases.push((alias.value(), name.to_string()));
                }
                Ok(())
            });
        }
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.add(&item.ident, &item.attrs);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.add(&item.ident, &item.attrs);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig.ident, &item.attrs);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig.ident, &item.attrs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::fixture;

    #[test]
    fn words_lead_to_the_items_that_have_them() {
        let text = "\
#[doc(alias = \"Mutex\")]
/// Text.
#[doc = \"more\"]
pub struct Lock;
#[doc(alias = \"channel\")]
pub fn pipe() {}
impl Lock {
    #[doc(alias = \"notify_one\", alias = \"wake\")]
    pub fn notify(&self) {}
}
";
        let found = |path| check([&fixture::rust(path, text)]).len();
        assert_eq!(found("shm-core/src/x.rs"), WANTED.len() - 3);
        assert_eq!(found("mp-sys/src/x.rs"), WANTED.len());
    }

    #[test]
    fn an_alias_of_another_item_does_not_count() {
        let text = "#[doc(alias = \"Mutex\")]\npub struct Other;\n";
        assert_eq!(check([&fixture::rust("shm-core/src/x.rs", text)]).len(), WANTED.len());
    }
}

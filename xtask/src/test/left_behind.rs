//! What the tests leave on the machine: names in /dev/shm, and processes of test binaries.
//!
//! The tests that fork count their own descriptors, mappings and children. This module looks at the whole run from
//! outside, for the test binaries that libtest drives and for children that outlived their parents.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Names and processes, of which a run of tests must not leave more behind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    names: BTreeSet<String>,
    processes: BTreeSet<String>,
}

impl Snapshot {
    /// Reads the state of the machine. `target` is the folder of the binaries.
    pub(crate) fn take(target: &Path) -> Self {
        Self { names: names(), processes: processes(target) }
    }

    /// Describes what is there now and was not there before; empty if there is nothing.
    pub(crate) fn added(&self, now: &Self) -> Vec<String> {
        let names = now.names.difference(&self.names).map(|name| format!("/dev/shm/{name}"));
        let processes = now.processes.difference(&self.processes).map(|process| format!("process {process}"));
        names.chain(processes).collect()
    }
}

fn names() -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir("/dev/shm") else {
        return BTreeSet::new();
    };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("mp.")).collect()
}

/// Processes that run a test binary or an example, as "id program". This command itself is neither.
fn processes(target: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return BTreeSet::new();
    };
    let running = entries.flatten().filter_map(|entry| {
        let program = fs::read_link(entry.path().join("exe")).ok()?;
        let inside = program.strip_prefix(target).ok()?;
        let folder = inside.parent()?.file_name()?;
        let is_test = folder == "deps" || folder == "examples";
        is_test.then(|| format!("{} {}", entry.file_name().to_string_lossy(), inside.display()))
    });
    running.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(names: &[&str], processes: &[&str]) -> Snapshot {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Snapshot { names: owned(names), processes: owned(processes) }
    }

    #[test]
    fn only_what_was_added_counts() {
        let before = snapshot(&["mp.theirs"], &["1 debug/deps/other"]);
        assert!(before.added(&before).is_empty());
        assert!(before.added(&snapshot(&[], &[])).is_empty(), "what disappeared is not a leak");
        let after = snapshot(&["mp.theirs", "mp.ours"], &["1 debug/deps/other", "2 debug/deps/it"]);
        assert_eq!(before.added(&after), ["/dev/shm/mp.ours", "process 2 debug/deps/it"]);
    }

    #[test]
    fn this_test_is_found_as_a_running_test_binary() {
        let program = std::env::current_exe().unwrap();
        let target = program.ancestors().nth(3).unwrap();
        let found = processes(target);
        let name = program.file_name().unwrap().to_str().unwrap();
        assert!(found.iter().any(|process| process.ends_with(name)), "{name} in {found:?}");
    }
}

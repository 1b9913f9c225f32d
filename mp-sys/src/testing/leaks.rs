//! What a process holds: descriptors, mappings of shared memory, children, names in /dev/shm.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;

use crate::child::own_pid;

/// Counts taken at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    descriptors: usize,
    mappings: usize,
    children: usize,
    names: BTreeSet<String>,
}

impl Snapshot {
    /// Counts what the calling process holds now.
    #[must_use]
    pub fn take() -> Self {
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        Self {
            // The folder is open while it is read, so it counts both times.
            descriptors: entries("/proc/self/fd").len(),
            mappings: maps
                .lines()
                .filter(|line| line.contains("/memfd:mp") || line.contains("/dev/shm/mp"))
                .count(),
            children: children_of(own_pid()).len(),
            names: entries("/dev/shm").into_iter().filter(|name| name.starts_with("mp")).collect(),
        }
    }

    /// What is there now and was not there before; `None` if there is nothing. Fewer than before is not a leak.
    #[must_use]
    pub fn leaked_since(&self) -> Option<Leaks> {
        let now = Self::take();
        let leaks = Leaks {
            descriptors: now.descriptors.saturating_sub(self.descriptors),
            mappings: now.mappings.saturating_sub(self.mappings),
            children: now.children.saturating_sub(self.children),
            names: now.names.difference(&self.names).filter(|name| !is_anothers(name)).cloned().collect(),
        };
        let clean =
            leaks.descriptors == 0 && leaks.mappings == 0 && leaks.children == 0 && leaks.names.is_empty();
        (!clean).then_some(leaks)
    }
}

/// Whether another test owns the name. Tests call their objects `test-PID-…`, and a guide `guide-PID`. All processes
/// share /dev/shm, so other tests may run at the same time.
fn is_anothers(name: &str) -> bool {
    let rest =
        ["test-", "guide-"].iter().find_map(|prefix| Some(name.split_once(prefix)?.1)).unwrap_or_default();
    let pid = rest.split('-').next().and_then(|pid| pid.parse::<u32>().ok());
    let own = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
    pid.is_some_and(|pid| pid != own)
}

/// What was left behind.
#[derive(Debug)]
pub struct Leaks {
    descriptors: usize,
    mappings: usize,
    children: usize,
    names: Vec<String>,
}

impl Leaks {
    /// The number of things left behind, of all kinds together.
    #[must_use]
    pub fn count(&self) -> usize {
        let Self { descriptors, mappings, children, names } = self;
        [*descriptors, *mappings, *children, names.len()]
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }
}

impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { descriptors, mappings, children, names } = self;
        write!(
            f,
            "left behind: {descriptors} descriptors, {mappings} mappings, {children} children, names {names:?}"
        )
    }
}

fn entries(folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The children of a process, zombies included.
#[must_use]
pub fn children_of(pid: u32) -> Vec<u32> {
    let parent = pid.to_string();
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // It is field 4, behind the command name in parentheses.
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)) == Some(&*parent)
    };
    entries("/proc").iter().filter_map(|name| name.parse().ok()).filter(is_child).collect()
}

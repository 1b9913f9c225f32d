//! Lists the names that exist, and the processes that hold them.
//!
//! Every holder has the file open with a shared `flock` on it. Both can be read from /proc: `/proc/PID/fd` leads to the file,
//! and `/proc/PID/fdinfo` shows the lock. A process that only looks at a file at this moment is not a holder. `readlink`
//! comes first and `stat` second: `readlink` does not ask the file system, so a descriptor on a server that does not answer
//! does not block the list.
//!
//! Source: proc_pid_fd(5), proc_pid_fdinfo(5), fs/locks.c `show_fd_locks`.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{FOLDER, names, open_own, path_of, sweep};
use super::header;
use crate::deadline::SharedTime;

/// A name that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub name: String,
    /// The number of the object's kind.
    pub kind: u8,
    /// The name of the element type, without modules.
    pub type_name: String,
    /// The number of elements.
    pub len: u64,
    /// The length of the file in bytes: whole pages.
    pub bytes: u64,
    /// How long ago it was made, or `None` if it was made in another time namespace, whose clock differs.
    pub age: Option<Duration>,
    /// Whether the name stays without holders.
    pub is_persistent: bool,
    /// The ids of the processes that hold it, in ascending order, as far as /proc shows them to this process.
    pub holders: Vec<u32>,
}

/// Lists the names that exist after a [`sweep`], sorted by name. Segments of incompatible builds are left out.
#[must_use]
pub fn list() -> Vec<Listed> {
    sweep();
    let now = SharedTime::now();
    let mut found: Vec<(FileKey, Listed)> =
        names().into_iter().filter_map(|name| look_at(name, now)).collect();
    let mut holders = holders_of(&found.iter().map(|&(key, _)| key).collect::<Vec<_>>());
    for (key, listed) in &mut found {
        listed.holders = holders.remove(key).unwrap_or_default();
    }
    let mut all: Vec<Listed> = found.into_iter().map(|(_, listed)| listed).collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

/// Device and inode.
type FileKey = (u64, u64);

fn look_at(name: String, now: SharedTime) -> Option<(FileKey, Listed)> {
    let file = open_own(&path_of(&name).ok()?).ok()?;
    let header = header::read(&file)?;
    let metadata = file.metadata().ok()?;
    let age = header.born.age_at(now);
    let listed = Listed {
        name,
        kind: header.kind,
        type_name: header.type_name,
        len: header.len,
        bytes: metadata.len(),
        age: (age != Duration::MAX).then_some(age),
        is_persistent: header.is_persistent,
        holders: Vec::new(),
    };
    Some(((metadata.dev(), metadata.ino()), listed))
}

/// Returns the processes that hold these files.
fn holders_of(files: &[FileKey]) -> HashMap<FileKey, Vec<u32>> {
    let mut found: HashMap<FileKey, Vec<u32>> = HashMap::new();
    if files.is_empty() {
        return found;
    }
    let Ok(processes) = fs::read_dir("/proc") else {
        return found;
    };
    let mut pids: Vec<u32> =
        processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    for pid in pids {
        for key in held_by(&PathBuf::from(format!("/proc/{pid}")), files) {
            let holders = found.entry(key).or_default();
            if holders.last() != Some(&pid) {
                holders.push(pid);
            }
        }
    }
    found
}

/// Returns the files that this process holds. A process of another user, or one that has ended, counts as holding none.
fn held_by(process: &Path, files: &[FileKey]) -> Vec<FileKey> {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else {
        return Vec::new();
    };
    let held = |number: &Path| {
        let path = process.join("fd").join(number);
        let target = fs::read_link(&path).ok()?;
        if !target.as_os_str().as_bytes().starts_with(FOLDER.as_bytes()) {
            return None;
        }
        let metadata = fs::metadata(&path).ok()?;
        let key = (metadata.dev(), metadata.ino());
        (files.contains(&key) && is_locked(&process.join("fdinfo").join(number))).then_some(key)
    };
    descriptors.flatten().filter_map(|entry| held(Path::new(&entry.file_name()))).collect()
}

/// Whether a shared `flock` belongs to the descriptor with this information.
fn is_locked(information: &Path) -> bool {
    let Ok(text) = fs::read_to_string(information) else {
        return false;
    };
    text.lines().any(|line| line.starts_with("lock:") && line.contains("FLOCK") && line.contains("READ"))
}

//! What this process's control groups allow: memory and CPU time, in both cgroup versions.
//!
//! The limit of an ancestor group applies as well, so every level up to the mount point is read. Containers usually see
//! their own group as the root. A file that cannot be read counts as no limit.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::descriptors;

const V2_ROOT: &str = "/sys/fs/cgroup";
const V1_MEMORY_ROOT: &str = "/sys/fs/cgroup/memory";
const V1_CPU_ROOT: &str = "/sys/fs/cgroup/cpu";
/// Levels read above a group; no deeper nesting is known anywhere.
const DEPTH_MAX: usize = 32;
/// From this limit on, a group of version 1 has none: then the file has the largest number of whole pages.
const V1_NO_LIMIT: u64 = 1 << 62;
/// Room for each of the kernel's files here, so that one call reads it all.
const FILE_BYTES: usize = 4096;

/// The groups of this process, as listed in /proc/self/cgroup.
#[derive(Debug, Default)]
struct Groups {
    v2: Option<String>,
    v1_memory: Option<String>,
    v1_cpu: Option<String>,
}

fn parse_groups(text: &str) -> Groups {
    let mut groups = Groups::default();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(id), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        if id == "0" && controllers.is_empty() {
            groups.v2 = Some(path.to_owned());
        }
        for controller in controllers.split(',') {
            match controller {
                "memory" => groups.v1_memory = Some(path.to_owned()),
                "cpu" => groups.v1_cpu = Some(path.to_owned()),
                _ => {}
            }
        }
    }
    groups
}

/// The folders of `group` and of all its ancestors under `root`, including `root` itself.
fn levels(root: &str, group: &str) -> Vec<PathBuf> {
    let root = Path::new(root);
    let full = root.join(group.trim_start_matches('/'));
    full.ancestors()
        .take(DEPTH_MAX)
        .take_while(|path| path.starts_with(root))
        .map(Path::to_path_buf)
        .collect()
}

fn own_groups() -> Groups {
    parse_groups(&read(Path::new("/proc/self/cgroup")).unwrap_or_default())
}

/// Reads a file of the kernel, whose size is unknown. `fs::read_to_string` would ask for it, and begin with few bytes.
pub(crate) fn read(path: &Path) -> Option<String> {
    let mut text = String::with_capacity(FILE_BYTES);
    let file = descriptors::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    File::from(file).take(u64::MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

fn read_number(path: &Path) -> Option<u64> {
    read(path)?.trim().parse().ok()
}

fn read_stat(path: &Path, key: &str) -> Option<u64> {
    let text = read(path)?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Bytes of memory that this process's groups still allow, or `None` without a limit.
///
/// File pages that the kernel can drop at once (`inactive_file`) do not count as used; container runtimes count the
/// same way.
pub(crate) fn memory_left() -> Option<u64> {
    let groups = own_groups();
    let v2 = groups.v2.iter().flat_map(|group| levels(V2_ROOT, group)).filter_map(|level| {
        let limit = read_number(&level.join("memory.max"))?;
        let used = read_number(&level.join("memory.current"))?;
        let droppable = read_stat(&level.join("memory.stat"), "inactive_file").unwrap_or(0);
        Some(limit.saturating_sub(used.saturating_sub(droppable)))
    });
    let v1 = groups.v1_memory.iter().flat_map(|group| levels(V1_MEMORY_ROOT, group)).filter_map(|level| {
        let limit = read_number(&level.join("memory.limit_in_bytes")).filter(|limit| *limit < V1_NO_LIMIT)?;
        let used = read_number(&level.join("memory.usage_in_bytes"))?;
        let droppable = read_stat(&level.join("memory.stat"), "total_inactive_file").unwrap_or(0);
        Some(limit.saturating_sub(used.saturating_sub(droppable)))
    });
    v2.chain(v1).min()
}

/// CPUs' worth of time that this process's groups allow, or `None` without a quota.
pub(crate) fn cpu_quota() -> Option<f64> {
    let groups = own_groups();
    let v2 = groups
        .v2
        .iter()
        .flat_map(|group| levels(V2_ROOT, group))
        .filter_map(|level| parse_cpu_max(&fs::read_to_string(level.join("cpu.max")).ok()?));
    let v1 = groups.v1_cpu.iter().flat_map(|group| levels(V1_CPU_ROOT, group)).filter_map(|level| {
        // A negative quota means that there is none, and does not parse as `u64`.
        quota(read_number(&level.join("cpu.cfs_quota_us"))?, read_number(&level.join("cpu.cfs_period_us"))?)
    });
    v2.chain(v1).reduce(f64::min)
}

/// Parses `cpu.max`, which is "quota period" in microseconds, or "max period".
fn parse_cpu_max(text: &str) -> Option<f64> {
    let mut numbers = text.split_whitespace();
    quota(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?)
}

fn quota(quota_us: u64, period_us: u64) -> Option<f64> {
    let (quota_us, period_us) = (u32::try_from(quota_us).ok()?, u32::try_from(period_us).ok()?);
    (period_us > 0).then(|| f64::from(quota_us) / f64::from(period_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_both_versions_are_found() {
        let groups = parse_groups("9:name=systemd:/\n4:memory:/a/b\n2:cpu,cpuacct:/c\n0::/d e\nbroken\n");
        assert_eq!(groups.v1_memory.as_deref(), Some("/a/b"));
        assert_eq!(groups.v1_cpu.as_deref(), Some("/c"));
        assert_eq!(groups.v2.as_deref(), Some("/d e"));
    }

    #[test]
    fn every_ancestor_up_to_the_root_counts() {
        let found = levels("/sys/fs/cgroup", "/a/b");
        let expected = ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"].map(PathBuf::from);
        assert_eq!(found, expected);
    }

    #[test]
    fn cpu_max_is_parsed_with_and_without_a_quota() {
        assert_eq!(parse_cpu_max("150000 100000\n"), Some(1.5));
        assert_eq!(parse_cpu_max("max 100000\n"), None);
        assert_eq!(parse_cpu_max(""), None);
    }
}

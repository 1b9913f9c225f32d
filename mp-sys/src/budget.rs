//! How much shared memory may still be reserved.
//!
//! On Linux, reserving more memory than there is does not fail: `fallocate` of a memfd calls the OOM killer, which ends
//! other processes first (measured). So every reservation asks here before it writes anything. The answer is the
//! smallest of what the machine, the control groups, the file-size limit and the configured limit leave, less a
//! reserve.
//!
//! Several threads may ask at the same time. So a [`Claim`] takes bytes from the configured limit before anything is
//! reserved, in one step with the check of the limit. What other threads are about to reserve is subtracted from what
//! the machine has left.

mod claim;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Resource, getrlimit};

pub use self::claim::Claim;
pub(crate) use self::claim::{UnderWay, count_anyway, forget_other_threads, give_up};
use crate::cgroup;
use crate::quiet::{Note, tell};

/// The environment variable that limits the shared memory of a process: a number of bytes, or with the suffix K, M, G
/// or T.
pub const LIMIT_VARIABLE: &str = "MP_SHM_MAX";
/// The most memory, in bytes, that is left untouched for the rest of the machine. It is never more than an eighth of
/// the available memory.
pub const RESERVE_BYTES_MAX: u64 = 64 << 20;

/// The configured limit in bytes; `UNREAD` until the environment has been read.
static LIMIT: AtomicU64 = AtomicU64::new(UNREAD);
const UNREAD: u64 = u64::MAX - 1;
const UNLIMITED: u64 = u64::MAX;

/// The most bytes of shared memory that this process may map, or `None` without a limit.
///
/// It starts as `MP_SHM_MAX` from the environment; a forked child inherits it.
#[must_use]
pub fn limit() -> Option<u64> {
    let mut limit = LIMIT.load(Ordering::Relaxed);
    if limit == UNREAD {
        limit = limit_from_environment();
        LIMIT.store(limit, Ordering::Relaxed);
    }
    (limit != UNLIMITED).then_some(limit)
}

/// Sets the most bytes of shared memory that this process may map; `None` means no limit.
///
/// Existing mappings stay. Children that are forked from now on inherit the limit.
pub fn set_limit(limit: Option<u64>) {
    // The largest numbers have a special meaning, so a limit that large becomes the largest ordinary number, which is
    // as good.
    LIMIT.store(limit.map_or(UNLIMITED, |limit| limit.min(UNREAD.wrapping_sub(1))), Ordering::Relaxed);
}

/// The number of bytes of shared memory of this process: what it made, inherited, received, or opened by name.
///
/// Reserved memory counts, address space does not. What other processes reserve in a queue counts when this process
/// next reserves or frees something there.
#[must_use]
pub fn mapped() -> u64 {
    claim::claimed()
}

/// The most bytes of a file of this process, or `None` without a limit. Writing beyond it would raise SIGXFSZ, which
/// kills the process.
#[must_use]
pub fn file_size_limit() -> Option<u64> {
    // Miri has no limits, and cannot be asked for them.
    if cfg!(miri) { None } else { getrlimit(Resource::Fsize).current }
}

/// The number of bytes that may be reserved now for a file that already has `file_size` bytes.
#[must_use]
pub fn available(file_size: u64) -> u64 {
    let configured = limit().map(|limit| limit.saturating_sub(mapped()));
    Sources { configured, ..Sources::now(file_size, 0) }.available()
}

/// The same as [`available`], for bytes that are already claimed from the configured limit, while other threads are
/// about to reserve `by_others` bytes.
pub(crate) fn available_to_claimed(file_size: u64, by_others: u64) -> u64 {
    Sources::now(file_size, by_others).available()
}

/// What each source leaves, in bytes; `None` means no limit.
#[derive(Debug)]
struct Sources {
    machine: Option<u64>,
    groups: Option<u64>,
    configured: Option<u64>,
    file: Option<u64>,
}

impl Sources {
    /// All sources except the configured limit.
    fn now(file_size: u64, by_others: u64) -> Self {
        // Miri has no /proc of its own.
        if cfg!(miri) {
            return Self { machine: None, groups: None, configured: None, file: None };
        }
        let left = |bytes: u64| bytes.saturating_sub(by_others);
        let machine = cgroup::read(Path::new("/proc/meminfo")).and_then(|text| mem_available(&text));
        Self {
            machine: machine.map(left),
            groups: cgroup::memory_left().map(left),
            configured: None,
            file: file_size_limit().map(|limit| limit.saturating_sub(file_size)),
        }
    }

    fn available(&self) -> u64 {
        // The reserve is for memory that other programs need. The configured limit and the file size are exact.
        let shared = [self.machine, self.groups].into_iter().flatten().min();
        let shared = shared.map(|bytes| bytes.saturating_sub((bytes / 8).min(RESERVE_BYTES_MAX)));
        [shared, self.configured, self.file].into_iter().flatten().min().unwrap_or(u64::MAX)
    }
}

fn mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn limit_from_environment() -> u64 {
    let Some(text) = std::env::var_os(LIMIT_VARIABLE) else {
        return UNLIMITED;
    };
    match text.to_str().and_then(parse_bytes) {
        Some(limit) => limit.min(UNREAD.wrapping_sub(1)),
        None => {
            tell(Note::Event(no_number));
            UNLIMITED
        }
    }
}

fn no_number() {
    let value = std::env::var_os(LIMIT_VARIABLE);
    tracing::warn!(variable = LIMIT_VARIABLE, ?value, "not a number of bytes, so no limit is set");
}

/// Parses sizes such as "4096", "64K", "512M", "2G" and "1T".
fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, shift) = match text.as_bytes().last()?.to_ascii_uppercase() {
        b'K' => (text.get(..text.len().checked_sub(1)?)?, 10),
        b'M' => (text.get(..text.len().checked_sub(1)?)?, 20),
        b'G' => (text.get(..text.len().checked_sub(1)?)?, 30),
        b'T' => (text.get(..text.len().checked_sub(1)?)?, 40),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_smallest_source_decides() {
        let none = Sources { machine: None, groups: None, configured: None, file: None };
        assert_eq!(none.available(), u64::MAX);
        let machine = Sources { machine: Some(8 * GIB), ..none };
        assert_eq!(machine.available(), 8 * GIB - RESERVE_BYTES_MAX);
        let group = Sources { groups: Some(2 * GIB), ..machine };
        assert_eq!(group.available(), 2 * GIB - RESERVE_BYTES_MAX);
        let configured = Sources { configured: Some(5), ..group };
        assert_eq!(configured.available(), 5);
        let file = Sources { file: Some(0), ..configured };
        assert_eq!(file.available(), 0);
    }

    #[test]
    fn the_reserve_never_takes_more_than_an_eighth() {
        let small = Sources { machine: Some(80), groups: None, configured: None, file: None };
        assert_eq!(small.available(), 70);
    }

    #[test]
    fn meminfo_is_in_kib() {
        let text = "MemTotal:       24684084 kB\nMemFree: 1 kB\nMemAvailable:   24392048 kB\n";
        assert_eq!(mem_available(text), Some(24_392_048 * 1024));
        assert_eq!(mem_available("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn sizes_may_have_suffixes() {
        assert_eq!(parse_bytes("4096"), Some(4096));
        assert_eq!(parse_bytes(" 64k "), Some(64 << 10));
        assert_eq!(parse_bytes("2G"), Some(2 << 30));
        assert_eq!(parse_bytes("1T"), Some(1 << 40));
        for wrong in ["", "G", "-1", "1.5G", "18446744073709551615T", "1é"] {
            assert_eq!(parse_bytes(wrong), None, "{wrong:?}");
        }
    }
}

//! Who am I, and is that other process still alive.
//!
//! A process is named by a [`Stamp`], one `u64` that fits into a shared word:
//!
//! | bits | meaning |
//! |---|---|
//! | 0-21 | process id (Linux allows at most 2^22) |
//! | 22-47 | low bits of the inode of its pidfd, which is unique since boot (Linux 6.9); its start time before that |
//! | 48-63 | 0: room for the number of a thread |
//!
//! So a process that got the id of a dead one is not taken for it. `kill(pid, 0)` would call a zombie alive and a byte
//! lock falls off when any descriptor of its file is closed; a pidfd does neither: it turns readable at the death.
//!
//! Stamps mean nothing across PID namespaces: two processes there may share one, and a live process may not be found.
//!
//! Source: pidfd_open(2), proc_pid_stat(5).

use std::fs;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{fstat, fstatfs};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};

use crate::fork::{Epoch, PerProcess};

const PID_BITS: u32 = 22;
const BIRTH_BITS: u32 = 26;
const PID_MASK: u64 = (1 << PID_BITS) - 1;
const BIRTH_MASK: u64 = (1 << BIRTH_BITS) - 1;
/// The file system type of a pidfd whose inode is unique, include/uapi/linux/magic.h.
const PID_FS_MAGIC: i64 = 0x5049_4446;

/// The identity of a process, as it stands in shared words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp(NonZeroU64);

/// This process's own stamp, made at the first question in each process.
static OWN: PerProcess<Option<Stamp>> = PerProcess::new();
/// The same for a quick look: two words, the second one of the epoch in which the first one holds.
static OWN_BITS: AtomicU64 = AtomicU64::new(0);
static OWN_EPOCH: AtomicU64 = AtomicU64::new(0);

impl Stamp {
    /// The stamp of the process that asks. A forked child gets its own.
    #[inline]
    #[must_use]
    pub fn current() -> Self {
        // The bits are stored before the epoch that they belong to.
        if OWN_EPOCH.load(Ordering::Acquire) == Epoch::current().to_bits()
            && let Some(stamp) = Self::from_bits(OWN_BITS.load(Ordering::Relaxed))
        {
            return stamp;
        }
        Self::make_current()
    }

    #[cold]
    fn make_current() -> Self {
        let epoch = Epoch::current();
        let stamp = *OWN.lock().get_or_insert_with(|| {
            let pid = getpid();
            // A process can always be opened by itself; without a free descriptor, /proc tells the start time, but
            // that is the other scheme: then the birth is unknown, and `is_alive` compares the pid alone.
            let birth = pidfd_open(pid, PidfdFlags::empty()).ok().and_then(|fd| birth(pid, fd.as_fd()));
            Self::new(pid, birth.unwrap_or(0))
        });
        OWN_BITS.store(stamp.to_bits(), Ordering::Relaxed);
        OWN_EPOCH.store(epoch.to_bits(), Ordering::Release);
        stamp
    }

    fn new(pid: Pid, birth: u64) -> Self {
        let pid = u64::from(pid.as_raw_nonzero().get().unsigned_abs()) & PID_MASK;
        let word = pid | ((birth & BIRTH_MASK) << PID_BITS);
        // A pid is between 1 and 2^22 - 1 here, so the word is not zero; 1 stands in for the impossible.
        Self(NonZeroU64::new(word).unwrap_or(NonZeroU64::MIN))
    }

    /// The stamp as it is stored in a shared word.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        self.0.get()
    }

    /// The stamp that a shared word holds, `None` for an empty word. Any other bits are some stamp, perhaps nobody's.
    #[must_use]
    pub fn from_bits(bits: u64) -> Option<Self> {
        NonZeroU64::new(bits).map(Self)
    }

    /// The process id. Ids are reused: signal a process through its pidfd only.
    #[must_use]
    pub fn pid(self) -> u32 {
        // Masked to 22 bits.
        u32::try_from(self.0.get() & PID_MASK).unwrap_or(0)
    }

    fn birth(self) -> u64 {
        (self.0.get() >> PID_BITS) & BIRTH_MASK
    }

    /// Whether that process still runs. A zombie is dead. When the kernel cannot be asked (no free descriptor, no
    /// permission), the answer is yes: a false death would take something from a living process.
    #[must_use]
    pub fn is_alive(self) -> bool {
        let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) else {
            return false;
        };
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            // EINVAL: the id of a thread that is not a process.
            Err(Errno::SRCH | Errno::INVAL) => return false,
            Err(_) => return true,
        };
        let same = match (self.birth(), birth(pid, fd.as_fd())) {
            (0, _) | (_, None) => true,
            (mine, Some(theirs)) => mine == theirs & BIRTH_MASK,
        };
        same && !has_ended(fd.as_fd())
    }
}

/// The kernel's number of the calling thread. Numbers of threads that ended are used again.
#[must_use]
pub fn current_thread() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

/// Whether this process has a thread of this number. Yes if /proc cannot be asked.
#[must_use]
pub fn is_thread_of_this_process(thread: u64) -> bool {
    fs::exists(format!("/proc/self/task/{thread}")).unwrap_or(true)
}

/// Whether the process behind a pidfd has ended (a zombie has).
pub(crate) fn has_ended(pidfd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut fds, Some(&now)), Ok(1))
}

/// What distinguishes this process from others of the same id: the inode of its pidfd, or its start time.
fn birth(pid: Pid, pidfd: BorrowedFd<'_>) -> Option<u64> {
    static INODES_ARE_UNIQUE: OnceLock<bool> = OnceLock::new();
    let unique = *INODES_ARE_UNIQUE.get_or_init(|| fstatfs(pidfd).is_ok_and(|fs| fs.f_type == PID_FS_MAGIC));
    if unique {
        return Some(fstat(pidfd).ok()?.st_ino);
    }
    start_time(&fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?)
}

/// Field 22 of /proc/pid/stat. The command name in field 2 may hold spaces and parentheses: count after the last one.
fn start_time(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_the_shared_word() {
        let own = Stamp::current();
        assert_eq!(Stamp::from_bits(own.to_bits()), Some(own));
        assert_eq!(Stamp::from_bits(0), None);
        assert_eq!(i64::from(own.pid()), i64::from(getpid().as_raw_nonzero().get()));
        assert!(own.is_alive());
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let own = Stamp::current();
        assert_ne!(own.birth(), 0, "pidfd_open works here");
        let predecessor = Stamp::new(getpid(), own.birth() ^ 1);
        assert_eq!(predecessor.pid(), own.pid());
        assert!(!predecessor.is_alive());
    }

    #[test]
    fn nobody_is_dead() {
        let beyond = Stamp::from_bits(PID_MASK).unwrap();
        assert!(!beyond.is_alive(), "no process has the largest id");
    }

    #[test]
    fn start_time_behind_an_ugly_name() {
        let mut stat = String::from("42 (a b) c) S");
        for field in 4..=30 {
            stat.push_str(&format!(" {field}"));
        }
        assert_eq!(start_time(&stat), Some(22));
        assert_eq!(start_time("42 (a"), None);
    }
}

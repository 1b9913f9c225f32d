//! Identifies this process, and finds out whether another one is still alive.
//!
//! A process is named by a [`Stamp`], one `u64` that fits into a shared word:
//!
//! | bits | meaning |
//! |---|---|
//! | 0-21 | process id (Linux allows at most 2^22) |
//! | 22-47 | low bits of the inode of its pidfd, which is unique since boot (Linux 6.9); its start time before that; 0 if unknown |
//! | 48-63 | its PID namespace: from the inode of that, 0 if unknown; before Linux 6.9 its time namespace as well |
//!
//! So a process that has the id of a dead one does not count as that process. `kill(pid, 0)` would report a zombie as
//! alive, and a byte lock is lost when any descriptor of its file is closed. A pidfd does neither: it turns readable at
//! the death.
//!
//! # Other PID namespaces
//! In another namespace, a process id refers to another process, or to none. So nothing can be found out about a
//! process of another namespace, and it counts as alive for ever. The kernel assigns to each namespace the lowest free
//! inode, so no two that exist at the same time have the same 16 bits while there are fewer than 65,530 of them. A
//! reused number does no harm: all processes of the older namespace are dead, and none of them has the birth of a
//! living one.
//!
//! # Other time namespaces
//! Before Linux 6.9, only the start time distinguishes a process from an earlier one with the same id. The kernel
//! reports the start time by the clock of the process that asks, so a process with another boot-time clock reads
//! another number. So on those kernels the namespace in a stamp is that of processes *and* of time, and a process with
//! another clock counts as alive as well.
//!
//! # Without /proc, or with the /proc of another namespace
//! Nothing that matters is read from /proc if the kernel can be asked in another way: in a chroot /proc is missing, and
//! in a container it may show another namespace. Before Linux 6.11, the namespace's number comes from `/proc/self`,
//! which never leads to another process. Without it the number is 0: this process considers all others alive, and they
//! consider it alive. Before Linux 6.9, start times come from /proc, and are compared only if it shows the caller's own
//! namespace.
//!
//! # Without a free descriptor
//! If a process makes its first stamp in this state, the stamp has no birth, and only its id identifies the process. A
//! process that asks about another in this state learns of its death only once the dead process has been reaped, or if
//! it is the asker's own child.
//!
//! Source: pidfd_open(2), proc_pid_stat(5), pid_namespaces(7), time_namespaces(7), fs/proc/generic.c `proc_alloc_inum`, and
//! fs/pidfs.c for `PIDFD_GET_PID_NAMESPACE`.

mod own;

use std::cell::Cell;
use std::fs;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(feature = "testing")]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{fstat, fstatfs, stat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, getpid, test_kill_process, waitid};

pub use self::own::is_thread_of_this_process;
use self::own::own_namespace;
use crate::descriptors::pidfd_open;
use crate::fork::{Epoch, PerProcess};
use crate::known::Known;

const PID_BITS: u32 = 22;
const BIRTH_BITS: u32 = 26;
const PID_MASK: u64 = (1 << PID_BITS) - 1;
const BIRTH_MASK: u64 = (1 << BIRTH_BITS) - 1;
/// Namespaces have the numbers from 1 to this.
const NAMESPACE_MAX: u64 = 0xffff;
const NAMESPACE_SHIFT: u32 = PID_BITS + BIRTH_BITS;
/// The file system type of a pidfd whose inode is unique, include/uapi/linux/magic.h.
const PID_FS_MAGIC: i64 = 0x5049_4446;

/// The identity of a process, as stored in shared words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp(NonZeroU64);

/// This process's own stamp, made at the first use in each process.
static OWN: PerProcess<Option<Stamp>> = PerProcess::new();
/// The same stamp for quick access: two words, of which the second holds the epoch for which the first is valid.
static OWN_BITS: AtomicU64 = AtomicU64::new(0);
static OWN_EPOCH: AtomicU64 = AtomicU64::new(0);

impl Stamp {
    /// The stamp of the calling process. A forked child gets its own.
    #[inline]
    #[must_use]
    pub fn current() -> Self {
        // The bits are stored before their epoch.
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
            // A process can always open itself, except for lack of a free descriptor. Then the birth stays unknown,
            // because two stamps of one process would be two owners.
            let opened = pidfd_open(pid, PidfdFlags::empty()).ok();
            let own = opened.as_ref().map(AsFd::as_fd);
            let found = own.and_then(|own| birth(pid, own));
            let time = if own.is_none_or(inodes_are_unique) { 0 } else { own_time_namespace() };
            Self::new(pid, found.unwrap_or(0), with_time(own_namespace(own), time))
        });
        OWN_BITS.store(stamp.to_bits(), Ordering::Relaxed);
        OWN_EPOCH.store(epoch.to_bits(), Ordering::Release);
        stamp
    }

    fn new(pid: Pid, birth: u64, namespace: u64) -> Self {
        let pid = u64::from(pid.as_raw_nonzero().get().unsigned_abs()) & PID_MASK;
        let word = pid | ((birth & BIRTH_MASK) << PID_BITS) | (namespace << NAMESPACE_SHIFT);
        // A pid is between 1 and 2^22 - 1 here, so the word is not zero; 1 replaces the impossible value.
        Self(NonZeroU64::new(word).unwrap_or(NonZeroU64::MIN))
    }

    /// The bits to store in a shared word.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        self.0.get()
    }

    /// Returns the stamp that a shared word holds, or `None` for an empty word. Any other bits form some stamp, which
    /// may belong to no process.
    #[must_use]
    pub fn from_bits(bits: u64) -> Option<Self> {
        NonZeroU64::new(bits).map(Self)
    }

    /// The process id. Ids are reused, so signal a process only through its pidfd.
    #[must_use]
    pub fn pid(self) -> u32 {
        // Masked to 22 bits.
        u32::try_from(self.0.get() & PID_MASK).unwrap_or(0)
    }

    fn birth(self) -> u64 {
        (self.0.get() >> PID_BITS) & BIRTH_MASK
    }

    fn namespace(self) -> u64 {
        self.0.get() >> NAMESPACE_SHIFT
    }

    /// Whether the caller can find out about that process, because it is in the caller's own PID namespace.
    fn is_of_this_namespace(self) -> bool {
        self.namespace() != 0 && self.namespace() == Self::current().namespace()
    }

    /// Whether that process still runs. A zombie counts as dead. If the kernel cannot be asked (another PID namespace,
    /// no permission), the answer is `true`: declaring a living process dead would take something from it.
    #[must_use]
    pub fn is_alive(self) -> bool {
        let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) else {
            return false;
        };
        if !self.is_of_this_namespace() {
            return true;
        }
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            // ENOENT (since Linux 6.16) and EINVAL: the id belongs to a thread that is not a process.
            Err(Errno::SRCH | Errno::NOENT | Errno::INVAL) => return false,
            // In most cases, there is no free descriptor.
            Err(_) => return !is_gone(pid),
        };
        let same = match (self.birth(), birth(pid, fd.as_fd())) {
            (0, _) | (_, None) => true,
            (mine, Some(theirs)) => mine == theirs & BIRTH_MASK,
        };
        same && !has_ended(fd.as_fd())
    }
}

/// The kernel's number of the calling thread. Numbers of ended threads are reused.
#[must_use]
pub fn current_thread() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

/// A number of the calling thread, from 1, that no other thread of this process has, had, or will have.
///
/// # Fork safety
/// The thread that forks keeps its number in the child. Numbers are dense in a process, and may be equal in different
/// processes.
#[must_use]
pub fn thread_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        // Without a destructor, so that it can be read while a thread ends.
        static OWN_NUMBER: Cell<u64> = const { Cell::new(0) };
    }
    OWN_NUMBER.with(|own| {
        if own.get() == 0 {
            // 64 bits never run out.
            own.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        own.get()
    })
}

/// Whether the process behind a pidfd has ended. A zombie has.
pub(crate) fn has_ended(pidfd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut fds, Some(&now)), Ok(1))
}

/// Whether there is no process with this id, or it is an ended child of the caller: all that can be found out without a
/// descriptor. A zombie of another parent is not detected.
fn is_gone(pid: Pid) -> bool {
    let only_look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::Pid(pid), only_look) {
        Ok(status) => status.is_some(),
        // It is not a child of the caller.
        Err(_) => test_kill_process(pid) == Err(Errno::SRCH),
    }
}

/// The inode of the caller's time namespace, or 0 on a kernel without them.
fn own_time_namespace() -> u64 {
    stat("/proc/self/ns/time").map_or(0, |namespace| namespace.st_ino)
}

/// Combines the number of a PID namespace with that of a time namespace, if there is one.
fn with_time(namespace: u64, time: u64) -> u64 {
    let Some(number) = namespace.checked_sub(1).filter(|_| time != 0) else {
        return namespace;
    };
    // Inodes of both kinds are dense, so they are spread: two pairs must not add up to the same number.
    let spread = time.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> NAMESPACE_SHIFT;
    number.wrapping_add(spread).checked_rem(NAMESPACE_MAX).map_or(0, |number| number.wrapping_add(1))
}

/// Whether the kernel assigns to each pidfd an inode that no other process has had since boot.
fn inodes_are_unique(pidfd: BorrowedFd<'_>) -> bool {
    static ARE_UNIQUE: Known = Known::new();
    #[cfg(feature = "testing")]
    if BY_START_TIME.load(Ordering::Relaxed) {
        return false;
    }
    ARE_UNIQUE.or_find_out(|| fstatfs(pidfd).is_ok_and(|fs| fs.f_type == PID_FS_MAGIC))
}

/// Whether a test treats this kernel as one before Linux 6.9.
#[cfg(feature = "testing")]
static BY_START_TIME: AtomicBool = AtomicBool::new(false);

/// See [`crate::testing::identify_by_start_time`].
#[cfg(feature = "testing")]
pub(crate) fn identify_by_start_time() {
    BY_START_TIME.store(true, Ordering::Relaxed);
}

/// What distinguishes this process from others of the same id: the inode of its pidfd, or its start time. `None` if
/// neither is certain.
fn birth(pid: Pid, pidfd: BorrowedFd<'_>) -> Option<u64> {
    if inodes_are_unique(pidfd) {
        return Some(fstat(pidfd).ok()?.st_ino);
    }
    if !own::proc_is_of_own_namespace() {
        return None;
    }
    start_time(&fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?)
}

/// Reads field 22 of /proc/pid/stat. The command name in field 2 may contain spaces and parentheses, so the count
/// starts after the last parenthesis.
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
        let predecessor = Stamp::new(getpid(), own.birth() ^ 1, own.namespace());
        assert_eq!(predecessor.pid(), own.pid());
        assert!(!predecessor.is_alive());
    }

    /// A stamp that belongs to no process: none has the largest id.
    fn nobody(namespace: u64) -> Stamp {
        Stamp::new(Pid::from_raw(0x3f_ffff).unwrap(), 0, namespace)
    }

    #[test]
    fn an_unused_id_counts_as_dead() {
        assert!(!nobody(Stamp::current().namespace()).is_alive());
        assert!(is_gone(Pid::from_raw(0x3f_ffff).unwrap()));
        assert!(!is_gone(getpid()));
    }

    #[test]
    fn any_id_of_another_namespace_counts_as_alive() {
        let own = Stamp::current().namespace();
        assert!((1..=NAMESPACE_MAX).contains(&own), "{own}");
        assert!(nobody(own ^ 1).is_alive());
        assert!(nobody(0).is_alive(), "of an unknown namespace");
        assert!(Stamp::new(getpid(), 1, own ^ 1).is_alive(), "another process with this id");
    }

    #[test]
    fn a_thread_with_the_id_of_a_dead_process_is_not_that_process() {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let (end, until) = std::sync::mpsc::channel::<()>();
            let wait = move || {
                tell.send(current_thread()).unwrap();
                until.recv().unwrap_err();
            };
            std::thread::Builder::new().spawn_scoped(scope, wait).unwrap();
            let thread = Pid::from_raw(told.recv().unwrap().try_into().unwrap()).unwrap();
            assert_ne!(thread, getpid());
            assert!(!Stamp::new(thread, 0, Stamp::current().namespace()).is_alive());
            drop(end);
        });
    }

    #[test]
    fn a_time_namespace_changes_the_number() {
        let (first, second) = (with_time(7, 4_026_531_834), with_time(7, 4_026_532_300));
        assert!((1..=NAMESPACE_MAX).contains(&first) && (1..=NAMESPACE_MAX).contains(&second));
        assert_ne!(first, second);
        assert_ne!(first, with_time(8, 4_026_531_834));
        assert_eq!(with_time(7, 0), 7, "on a kernel without time namespaces");
        assert_eq!(with_time(0, 4_026_531_834), 0, "unknown stays unknown");
    }

    #[test]
    fn the_start_time_is_found_behind_a_name_with_parentheses() {
        let mut stat = String::from("42 (a b) c) S");
        for field in 4..=30 {
            stat.push_str(&format!(" {field}"));
        }
        assert_eq!(start_time(&stat), Some(22));
        assert_eq!(start_time("42 (a"), None);
    }
}

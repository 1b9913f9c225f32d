//! What a process finds out about itself from the kernel: its threads, its PID namespace, and whether /proc shows that
//! namespace.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::{fstat, stat, statfs};
use rustix::process::getpid;

use super::NAMESPACE_MAX;

/// `_IO(PIDFS_IOCTL_MAGIC, 5)`: a descriptor of the PID namespace of a pidfd's process (Linux 6.11), include/uapi/linux/pidfd.h.
const PIDFD_GET_PID_NAMESPACE: libc::Ioctl = 0xff05;
/// The file system type of namespaces, include/uapi/linux/magic.h.
const NSFS_MAGIC: i64 = 0x6e73_6673;
/// The file system type of /proc, from the same file.
const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// Whether this process has a thread with this number. Returns `true` if the kernel does not say.
#[must_use]
pub fn is_thread_of_this_process(thread: u64) -> bool {
    let Ok(thread) = i32::try_from(thread) else {
        return false;
    };
    // No thread has a number below 1.
    if thread < 1 {
        return false;
    }
    let process = getpid().as_raw_nonzero().get();
    // SAFETY: three numbers; signal 0 is never delivered: the kernel only checks whether it could be.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, 0) };
    sent == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// The number of the caller's PID namespace, or 0 if it cannot be found out. `own` is a pidfd of the caller, if it has
/// one.
pub(super) fn own_namespace(own: Option<BorrowedFd<'_>>) -> u64 {
    let inode = own.and_then(namespace_of_pidfd).or_else(namespace_in_proc);
    // The kernel's numbers are dense, so they stay distinct here, and none of them becomes 0.
    inode.and_then(|inode| inode.checked_rem(NAMESPACE_MAX)).map_or(0, |number| number.wrapping_add(1))
}

fn namespace_of_pidfd(pidfd: BorrowedFd<'_>) -> Option<u64> {
    // SAFETY: the request takes no argument, and changes nothing in the process but its table of descriptors.
    let namespace = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_PID_NAMESPACE, 0) };
    if namespace < 0 {
        return None;
    }
    // SAFETY: the kernel has just made this descriptor for the caller, and nothing else owns it.
    let namespace = unsafe { OwnedFd::from_raw_fd(namespace) };
    Some(fstat(namespace).ok()?.st_ino)
}

/// Reads the inode from /proc, before Linux 6.11 or without a free descriptor. It needs no descriptor.
fn namespace_in_proc() -> Option<u64> {
    const PATH: &str = "/proc/self/ns/pid";
    // Anything else that may be mounted there is not used.
    let is_namespace = statfs(PATH).is_ok_and(|it| it.f_type == NSFS_MAGIC);
    is_namespace.then(|| stat(PATH).ok()).flatten().map(|namespace| namespace.st_ino)
}

/// Whether an id in /proc refers to the same process as it does for the caller. In a container that kept the host's
/// /proc, it refers to another process, or to none.
pub(super) fn proc_is_of_own_namespace() -> bool {
    statfs("/proc").is_ok_and(|it| it.f_type == PROC_SUPER_MAGIC)
        && fs::read_to_string("/proc/self/status").is_ok_and(|status| has_one_id(&status))
}

/// Whether /proc is mounted for this process's own namespace. `NSpid` lists the ids of a process from the namespace of
/// /proc down to its own: a single one means that they are the same.
fn has_one_id(status: &str) -> bool {
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let own = getpid().as_raw_nonzero().get().to_string();
    ids.is_some_and(|ids| ids.split_whitespace().eq([own.as_str()]))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::identity::current_thread;

    fn own_id() -> u32 {
        getpid().as_raw_nonzero().get().unsigned_abs()
    }

    #[test]
    fn threads_of_this_process_are_known_and_no_others() {
        assert!(is_thread_of_this_process(u64::from(current_thread())));
        assert!(is_thread_of_this_process(u64::from(own_id())));
        // Process 1 is another process, and the other numbers belong to none.
        for nobody in [0, 1, 0x3f_ffff, 0x7fff_ffff, u64::from(u32::MAX), u64::MAX] {
            assert!(!is_thread_of_this_process(nobody), "{nobody}");
        }
    }

    #[test]
    fn both_ways_to_the_namespace_agree() {
        let own = rustix::process::pidfd_open(getpid(), rustix::process::PidfdFlags::empty()).unwrap();
        let in_proc = namespace_in_proc().unwrap();
        // Before Linux 6.11 there is only one way.
        assert_eq!(namespace_of_pidfd(own.as_fd()).unwrap_or(in_proc), in_proc);
        assert_eq!(own_namespace(Some(own.as_fd())), own_namespace(None));
        let no_pidfd = fs::File::open("/dev/null").unwrap();
        assert_eq!(namespace_of_pidfd(no_pidfd.as_fd()), None);
    }

    #[test]
    fn a_proc_of_another_namespace_is_known_by_its_ids() {
        let own = own_id();
        assert!(proc_is_of_own_namespace());
        assert!(has_one_id(&format!("Name:\tx\nNSpid:\t{own}\nNSpgid:\t1\n")));
        assert!(!has_one_id(&format!("NSpid:\t4711\t{own}\n")), "seen from outside");
        assert!(!has_one_id(&format!("NSpid:\t{}\n", own + 1)), "another process");
        assert!(!has_one_id("Name:\tx\n"), "before Linux 4.1");
    }
}

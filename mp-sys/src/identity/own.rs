//! What a process asks the kernel about itself: its threads, its PID namespace, and whether /proc is that namespace's.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::{fstat, stat, statfs};
use rustix::process::getpid;

use super::NAMESPACE_MAX;

/// `_IO(PIDFS_IOCTL_MAGIC, 5)`: a descriptor of the PID namespace of a pidfd's process (Linux 6.11), include/uapi/linux/pidfd.h.
const PIDFD_GET_PID_NAMESPACE: libc::Ioctl = 0xff05;
/// The file system type of namespaces, include/uapi/linux/magic.h.
const NSFS_MAGIC: i64 = 0x6e73_6673;
/// The file system type of /proc, from there as well.
const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// Whether this process has a thread of this number. Yes if the kernel refuses to tell.
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
    // SAFETY: three numbers; signal 0 is sent to nobody, and the kernel only looks whether it could be.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, 0) };
    sent == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// The number of the caller's PID namespace, 0 if nobody tells. `own` is a pidfd of the caller, if it has one.
pub(super) fn own_namespace(own: Option<BorrowedFd<'_>>) -> u64 {
    let inode = own.and_then(namespace_of_pidfd).or_else(namespace_in_proc);
    // The kernel's numbers are dense, so this keeps them apart, and none of them becomes 0.
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

/// Before Linux 6.11, or without a free descriptor. It takes none.
fn namespace_in_proc() -> Option<u64> {
    const PATH: &str = "/proc/self/ns/pid";
    // What anybody else put there is not asked.
    let is_namespace = statfs(PATH).is_ok_and(|it| it.f_type == NSFS_MAGIC);
    is_namespace.then(|| stat(PATH).ok()).flatten().map(|namespace| namespace.st_ino)
}

/// Whether an id in /proc means the process that it means to the caller. In a container that kept its host's /proc it
/// means another one, or nobody.
pub(super) fn proc_is_of_own_namespace() -> bool {
    statfs("/proc").is_ok_and(|it| it.f_type == PROC_SUPER_MAGIC)
        && fs::read_to_string("/proc/self/status").is_ok_and(|status| has_one_id(&status))
}

/// The ids of this process, from the namespace that /proc is mounted for to its own: one, if that is the same namespace.
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
    fn threads_of_this_process_and_no_others() {
        assert!(is_thread_of_this_process(u64::from(current_thread())));
        assert!(is_thread_of_this_process(u64::from(own_id())));
        // Process 1 is another one, and nobody has the other numbers.
        for nobody in [0, 1, 0x3f_ffff, 0x7fff_ffff, u64::from(u32::MAX), u64::MAX] {
            assert!(!is_thread_of_this_process(nobody), "{nobody}");
        }
    }

    #[test]
    fn both_ways_to_the_namespace_lead_to_one() {
        let own = rustix::process::pidfd_open(getpid(), rustix::process::PidfdFlags::empty()).unwrap();
        let in_proc = namespace_in_proc().unwrap();
        // Before Linux 6.11 there is one way.
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
        assert!(!has_one_id(&format!("NSpid:\t{}\n", own + 1)), "somebody else");
        assert!(!has_one_id("Name:\tx\n"), "before Linux 4.1");
    }
}

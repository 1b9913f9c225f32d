//! A process that may not make some system calls, as sandboxes have them.

use rustix::io::Errno;

/// Lets execve(2) and execveat(2) fail with `EPERM`, in the calling thread and in all processes that it starts, for ever.
///
/// # Errors
/// In words, if the kernel has no filters.
pub fn forbid_exec() -> Result<(), String> {
    forbid([libc::SYS_execve, libc::SYS_execveat])
}

/// Lets get_robust_list(2) fail in the same way.
///
/// # Errors
/// As [`forbid_exec`].
pub fn forbid_robust_list() -> Result<(), String> {
    forbid([libc::SYS_get_robust_list; 2])
}

fn forbid(calls: [libc::c_long; 2]) -> Result<(), String> {
    let refused = |what: &str| format!("{what}: {}", std::io::Error::last_os_error());
    // A filter that anybody may set: no program gives more rights afterwards.
    // SAFETY: this option takes numbers only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(refused("PR_SET_NO_NEW_PRIVS"));
    }
    let mut filter = filter(calls);
    let program =
        libc::sock_fprog { len: u16::try_from(filter.len()).unwrap_or(0), filter: filter.as_mut_ptr() };
    // SAFETY: the program names so many instructions, which live until the call has copied them.
    if unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) } != 0 {
        return Err(refused("PR_SET_SECCOMP"));
    }
    Ok(())
}

/// Looks at the number of the system call, which lies first in what a filter is given.
fn filter([first, second]: [libc::c_long; 2]) -> [libc::sock_filter; 5] {
    let code = |bits: u32| u16::try_from(bits).unwrap_or(0);
    let jump = |number: libc::c_long, then: u8| libc::sock_filter {
        code: code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K),
        jt: then,
        jf: 0,
        k: u32::try_from(number).unwrap_or(u32::MAX),
    };
    let simple = |bits, k| libc::sock_filter { code: code(bits), jt: 0, jf: 0, k };
    let denied = libc::SECCOMP_RET_ERRNO | Errno::PERM.raw_os_error().unsigned_abs();
    [
        simple(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        jump(first, 2),
        jump(second, 1),
        simple(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
        simple(libc::BPF_RET | libc::BPF_K, denied),
    ]
}

//! System calls that are refused, as sandboxes refuse them, or as the kernel does at a bad moment.

use rustix::io::Errno;

/// The number of fcntl(2).
pub const FCNTL: libc::c_long = libc::SYS_fcntl;
/// The number of fallocate(2).
pub const FALLOCATE: libc::c_long = libc::SYS_fallocate;
/// The number of madvise(2).
pub const MADVISE: libc::c_long = libc::SYS_madvise;
/// The number of sendto(2), which send(3) is.
pub const SENDTO: libc::c_long = libc::SYS_sendto;

/// What an argument of a system call must be for the call to be refused. Only its lower 32 bits are looked at.
#[derive(Debug, Clone, Copy)]
pub enum Argument {
    /// The argument of this number, from 0, is this.
    Is(u8, u32),
    /// The argument of this number has one of these bits.
    Has(u8, u32),
}

/// Lets a system call fail with `errno` wherever its arguments are as said, in the calling thread and in all processes that
/// it starts, for ever.
///
/// # Errors
/// In words, if the kernel has no filters.
pub fn refuse(call: libc::c_long, arguments: &[Argument], errno: i32) -> Result<(), String> {
    let refused = |what: &str| format!("{what}: {}", std::io::Error::last_os_error());
    // A filter that anybody may set: no program gives more rights afterwards.
    // SAFETY: this option takes numbers only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(refused("PR_SET_NO_NEW_PRIVS"));
    }
    let mut filter = filter(call, arguments, errno);
    let program =
        libc::sock_fprog { len: u16::try_from(filter.len()).unwrap_or(0), filter: filter.as_mut_ptr() };
    // SAFETY: the program names so many instructions, which live until the call has copied them.
    if unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) } != 0 {
        return Err(refused("PR_SET_SECCOMP"));
    }
    Ok(())
}

/// Lets execve(2) and execveat(2) fail with `EPERM`, as [`refuse`].
///
/// # Errors
/// As [`refuse`].
pub fn forbid_exec() -> Result<(), String> {
    let denied = Errno::PERM.raw_os_error();
    refuse(libc::SYS_execve, &[], denied)?;
    refuse(libc::SYS_execveat, &[], denied)
}

/// Lets get_robust_list(2) fail with `EPERM`, as [`refuse`].
///
/// # Errors
/// As [`refuse`].
pub fn forbid_robust_list() -> Result<(), String> {
    refuse(libc::SYS_get_robust_list, &[], Errno::PERM.raw_os_error())
}

/// Lets unshare(2) fail with `EPERM`, as [`refuse`].
///
/// # Errors
/// As [`refuse`].
pub fn forbid_unshare() -> Result<(), String> {
    refuse(libc::SYS_unshare, &[], Errno::PERM.raw_os_error())
}

/// Lets `MADV_WIPEONFORK` fail with `EPERM`, as [`refuse`].
///
/// # Errors
/// As [`refuse`].
pub fn forbid_wiping() -> Result<(), String> {
    let advice = Argument::Is(2, libc::MADV_WIPEONFORK.unsigned_abs());
    refuse(MADVISE, &[advice], Errno::PERM.raw_os_error())
}

/// Lets linkat(2) with `AT_EMPTY_PATH` fail with `ENOENT`, as for a user without privileges before Linux 6.10, as [`refuse`].
///
/// # Errors
/// As [`refuse`].
pub fn forbid_linking_descriptors() -> Result<(), String> {
    let flags = Argument::Is(4, libc::AT_EMPTY_PATH.unsigned_abs());
    refuse(libc::SYS_linkat, &[flags], Errno::NOENT.raw_os_error())
}

/// Where the number of the call lies in what a filter is given, and where its arguments begin, eight bytes each.
const CALL: u32 = 0;
const ARGUMENTS: u32 = 16;

fn filter(call: libc::c_long, arguments: &[Argument], errno: i32) -> Vec<libc::sock_filter> {
    let code = |bits: u32| u16::try_from(bits).unwrap_or(0);
    let simple = |bits, k| libc::sock_filter { code: code(bits), jt: 0, jf: 0, k };
    let allowed = simple(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW);
    // Each look: load, go on if it is so, else allow.
    let look = |at, how, value| {
        let jump =
            libc::sock_filter { code: code(libc::BPF_JMP | how | libc::BPF_K), jt: 1, jf: 0, k: value };
        [simple(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at), jump, allowed]
    };
    // The lower half comes first on the machines that the tests run on.
    let place = |number: u8| ARGUMENTS.saturating_add(u32::from(number) << 3);
    let looks = arguments.iter().flat_map(|argument| match *argument {
        Argument::Is(number, value) => look(place(number), libc::BPF_JEQ, value),
        Argument::Has(number, bits) => look(place(number), libc::BPF_JSET, bits),
    });
    let call = look(CALL, libc::BPF_JEQ, u32::try_from(call).unwrap_or(u32::MAX));
    let denied = libc::SECCOMP_RET_ERRNO | errno.unsigned_abs();
    call.into_iter().chain(looks).chain([simple(libc::BPF_RET | libc::BPF_K, denied)]).collect()
}

//! Makes system calls fail, as sandboxes do, or as the kernel does at a bad moment.

use rustix::io::Errno;

/// The number of fcntl(2).
pub const FCNTL: libc::c_long = libc::SYS_fcntl;
/// The number of fallocate(2).
pub const FALLOCATE: libc::c_long = libc::SYS_fallocate;
/// The number of fsync(2).
pub const FSYNC: libc::c_long = libc::SYS_fsync;
/// The number of madvise(2).
pub const MADVISE: libc::c_long = libc::SYS_madvise;
/// The number of sendto(2), which implements send(3).
pub const SENDTO: libc::c_long = libc::SYS_sendto;

/// What an argument of a system call must be for the call to fail. Only its lower 32 bits count.
#[derive(Debug, Clone, Copy)]
pub enum Argument {
    /// The argument with this number, from 0, has this value.
    Is(u8, u32),
    /// The argument with this number has one of these bits.
    Has(u8, u32),
}

/// Makes a system call fail with `errno` if its arguments match, in the calling thread and in all processes that it
/// starts, for ever.
///
/// # Errors
/// A text, if the kernel has no filters.
pub fn refuse(call: libc::c_long, arguments: &[Argument], errno: i32) -> Result<(), String> {
    let refused = |what: &str| format!("{what}: {}", std::io::Error::last_os_error());
    // Any process may set such a filter, because no program gains rights after this call.
    // SAFETY: this option takes numbers only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(refused("PR_SET_NO_NEW_PRIVS"));
    }
    let mut filter = filter(call, arguments, errno);
    let program =
        libc::sock_fprog { len: u16::try_from(filter.len()).unwrap_or(0), filter: filter.as_mut_ptr() };
    // SAFETY: the program names its exact number of instructions, which live until the call has copied them.
    if unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) } != 0 {
        return Err(refused("PR_SET_SECCOMP"));
    }
    Ok(())
}

/// Makes execve(2) and execveat(2) fail with `EPERM`, as [`refuse`] does.
///
/// # Errors
/// Fails as [`refuse`] does.
pub fn forbid_exec() -> Result<(), String> {
    let denied = Errno::PERM.raw_os_error();
    refuse(libc::SYS_execve, &[], denied)?;
    refuse(libc::SYS_execveat, &[], denied)
}

/// Makes get_robust_list(2) fail with `EPERM`, as [`refuse`] does.
///
/// # Errors
/// Fails as [`refuse`] does.
pub fn forbid_robust_list() -> Result<(), String> {
    refuse(libc::SYS_get_robust_list, &[], Errno::PERM.raw_os_error())
}

/// Makes futex_waitv(2) fail with `ENOSYS`, as [`refuse`] does. That is how it fails before Linux 5.16.
///
/// # Errors
/// Fails as [`refuse`] does.
pub fn forbid_futex_waitv() -> Result<(), String> {
    refuse(libc::SYS_futex_waitv, &[], Errno::NOSYS.raw_os_error())
}

/// Makes unshare(2) fail with `EPERM`, as [`refuse`] does.
///
/// # Errors
/// Fails as [`refuse`] does.
pub fn forbid_unshare() -> Result<(), String> {
    refuse(libc::SYS_unshare, &[], Errno::PERM.raw_os_error())
}

/// Makes `MADV_WIPEONFORK` fail with `EPERM`, as [`refuse`] does.
///
/// # Errors
/// Fails as [`refuse`] does.
pub fn forbid_wiping() -> Result<(), String> {
    let advice = Argument::Is(2, libc::MADV_WIPEONFORK.unsigned_abs());
    refuse(MADVISE, &[advice], Errno::PERM.raw_os_error())
}

/// Makes linkat(2) with `AT_EMPTY_PATH` fail with `ENOENT`, as [`refuse`] does. That is how it fails for a user without
/// privileges before Linux 6.10.
///
/// # Errors
/// Fails as [`refuse`] does.
pub fn forbid_linking_descriptors() -> Result<(), String> {
    let flags = Argument::Is(4, libc::AT_EMPTY_PATH.unsigned_abs());
    refuse(libc::SYS_linkat, &[flags], Errno::NOENT.raw_os_error())
}

/// The place of the call's number in the data of a filter. The arguments follow at `ARGUMENTS`, eight bytes each.
const CALL: u32 = 0;
const ARGUMENTS: u32 = 16;

fn filter(call: libc::c_long, arguments: &[Argument], errno: i32) -> Vec<libc::sock_filter> {
    let code = |bits: u32| u16::try_from(bits).unwrap_or(0);
    let simple = |bits, k| libc::sock_filter { code: code(bits), jt: 0, jf: 0, k };
    let allowed = simple(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW);
    // Each check loads a word, goes on if it matches, and otherwise allows the call.
    let look = |at, how, value| {
        let jump =
            libc::sock_filter { code: code(libc::BPF_JMP | how | libc::BPF_K), jt: 1, jf: 0, k: value };
        [simple(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at), jump, allowed]
    };
    // The lower half comes first on the machines that run the tests.
    let place = |number: u8| ARGUMENTS.saturating_add(u32::from(number) << 3);
    let looks = arguments.iter().flat_map(|argument| match *argument {
        Argument::Is(number, value) => look(place(number), libc::BPF_JEQ, value),
        Argument::Has(number, bits) => look(place(number), libc::BPF_JSET, bits),
    });
    let call = look(CALL, libc::BPF_JEQ, u32::try_from(call).unwrap_or(u32::MAX));
    let denied = libc::SECCOMP_RET_ERRNO | errno.unsigned_abs();
    call.into_iter().chain(looks).chain([simple(libc::BPF_RET | libc::BPF_K, denied)]).collect()
}

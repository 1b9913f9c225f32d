//! The CPU that the caller runs on.
//!
//! This is called with every change of a word that a process may wait for, so it must be cheap. So it uses the C library
//! (glibc 2.35), which reads a word that the kernel keeps up to date for each thread; rustix would call into the kernel's
//! page of functions.
//!
//! Source: sched_getcpu(3), rseq(2).

/// The CPU that the caller runs on at the moment.
#[inline]
#[must_use]
pub fn current_cpu() -> u32 {
    // SAFETY: sched_getcpu(3) takes nothing and has no conditions.
    let cpu = unsafe { libc::sched_getcpu() };
    // -1 on a system that cannot say.
    u32::try_from(cpu).unwrap_or(u32::MAX)
}

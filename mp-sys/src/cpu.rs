//! On which CPU the caller runs.
//!
//! A file of its own because it is asked with every change of a word that somebody may wait for: rustix asks the kernel's
//! page of functions, the C library (glibc 2.35) reads a word that the kernel keeps up to date for each thread.
//!
//! Source: sched_getcpu(3), rseq(2).

/// The CPU that the caller runs on at the moment.
#[inline]
#[must_use]
pub fn current_cpu() -> u32 {
    // SAFETY: sched_getcpu(3) takes nothing and has no conditions.
    let cpu = unsafe { libc::sched_getcpu() };
    // -1 on a system that cannot tell.
    u32::try_from(cpu).unwrap_or(u32::MAX)
}

//! Children whose handles were dropped while they ran. They are reaped at the next fork or drop, or by init when this
//! process ends.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::fork::PerProcess;

/// Something that must stay as it is while a child may use it.
pub(super) type Kept = Box<dyn Send>;

static ABANDONED: PerProcess<Vec<(OwnedFd, Option<Kept>)>> = PerProcess::new();
/// The number of abandoned children. Reading it first touches no page that a fork would have to copy.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Leaves a child to be reaped later.
pub(super) fn add(pidfd: OwnedFd, kept: Option<Kept>) {
    let mut abandoned = ABANDONED.lock();
    abandoned.push((pidfd, kept));
    COUNT.store(abandoned.len(), Ordering::Relaxed);
}

/// Reaps the abandoned children that have ended.
pub fn reap_abandoned() {
    if COUNT.load(Ordering::Relaxed) == 0 {
        return;
    }
    let has_ended = |(pidfd, _): &mut (OwnedFd, Option<Kept>)| {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        !matches!(waitid(WaitId::PidFd(pidfd.as_fd()), options), Ok(None) | Err(Errno::INTR))
    };
    let mut abandoned = ABANDONED.lock();
    let reaped: Vec<_> = abandoned.extract_if(.., has_ended).collect();
    COUNT.store(abandoned.len(), Ordering::Relaxed);
    drop(abandoned);
    // The drop of a kept value may run any code, so it must not happen under the lock.
    drop(reaped);
}

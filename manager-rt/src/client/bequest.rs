//! Before a fork: the server keeps the references of this process for the child.
//!
//! A child has no connection at first, so the server knows nothing of its proxies. The parent may drop its own proxies, or
//! be killed, before the child first uses them. So an atfork handler of the parent, which runs before the fork, opens a
//! socket that the child inherits, and sends over its own connection that whoever holds that socket has the same
//! references. The kernel has both before there is a child. So it does not matter when the parent is killed:
//!
//! - killed before the notice was sent, it has no child;
//! - killed later, the server reads the notice before the end of the connection, since it comes first in the same stream.
//!
//! The server counts the references of a bequest until the last copy of the socket is closed. A child closes its copy when
//! it has its own references, and the kernel does so when the child ends or executes another program. So a child that never
//! uses the manager keeps the objects as long as it lives, and no longer. Locks and the like are not part of a bequest:
//! they belong to the connection, of which the child has no copy.
//!
//! Nobody waits for an answer of the server. If it refuses, it says so over the socket, which parent and children look at
//! when they need to know. A second number is not needed to prove who claims a bequest: only the parent's
//! own connection, which was authenticated, and the holder of the socket know the number, which is random.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use mp_sys::deadline::Deadline;
use mp_sys::fork::{Generations, call_before_forks};
use mp_sys::handoff::nonce;
use rustix::net::{SendFlags, send};

use super::link::{Local, Target};
use crate::limits::FORK_TIME_MAX;
use crate::proto::ManagerOp;
use crate::references::{BeforeFork, soon};
use crate::transport;
use crate::wire::frame::heirs_hello;

/// What has references that a forked child inherits.
pub(super) trait Bequeaths: Send + Sync {
    /// Makes a bequest before the process forks. May take until the deadline.
    fn before_fork(&self, deadline: Deadline);
}

/// The managers that this process uses.
static ALL: Generations<Mutex<Vec<Weak<dyn Bequeaths>>>> = Generations::new();

/// Lets a manager keep the references of this process for forked children.
pub(super) fn enlist(one: Weak<dyn Bequeaths>) {
    call_before_forks(before_fork);
    let all = ALL.get(|_| Mutex::default());
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|one| one.strong_count() > 0);
    all.push(one);
}

fn before_fork() {
    let Some(all) = ALL.existing() else { return };
    let deadline = Deadline::after(FORK_TIME_MAX);
    let Some(all) = soon(all, deadline) else { return };
    let alive: Vec<Arc<dyn Bequeaths>> = all.iter().filter_map(Weak::upgrade).collect();
    // The last owner of a manager may be dropped here, which must not happen under the lock.
    drop(all);
    alive.iter().for_each(|one| one.before_fork(deadline));
}

/// Makes a bequest of the references to the objects of one manager, if there are new ones.
pub(super) fn bequeath(local: &Local, target: &Target, deadline: Deadline) {
    let Some(BeforeFork::Bequeath(made)) = local.references.before_fork(deadline) else { return };
    match make(local, target, deadline) {
        Some(socket) => local.references.bequeath(made, socket),
        // The objects live on for the grace of a transit when this process drops its proxies.
        None => local.references.fork_unprepared(deadline),
    }
}

/// Makes a bequest, and returns its socket.
fn make(local: &Local, target: &Target, deadline: Deadline) -> Option<OwnedFd> {
    let connection = local.present_soon(deadline)?;
    let bequest = u128::from_le_bytes(*nonce().ok()?.first_chunk()?);
    let socket = transport::open_inherited(&target.address, deadline).ok()??;
    mp_sys::crash::point();
    let hello = heirs_hello(bequest);
    // A new socket has room for it.
    let sent = send(&socket, &hello, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    mp_sys::crash::point();
    let is_sent = sent == Ok(hello.len()) && connection.notice_now(ManagerOp::Bequeath { bequest }, deadline);
    mp_sys::crash::point();
    is_sent.then_some(socket)
}

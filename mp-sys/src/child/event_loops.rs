//! Event loops that a child would share with its parent.
//!
//! An epoll instance is one object of the kernel, whoever has a descriptor of it: a forked child that lets an inherited event
//! loop run, registers a socket there or drops one, takes events away from its parent, whose sockets then stand still. A
//! runtime of tokio with one thread is such a loop; one with several is refused for its threads.
//!
//! There is no list of the epoll instances of a process, so each number is asked: to forget a descriptor that it never knew. One
//! that is no epoll instance refuses that for another reason. Nothing is changed.
//!
//! Source: epoll(7) "Questions and answers"; `do_epoll_ctl` in fs/eventpoll.c.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::event::{EventfdFlags, epoll};
use rustix::io::Errno;

use crate::descriptors::eventfd;

/// Numbers that are looked at above the lowest free one: a hole among the numbers hides nothing close behind it.
pub(super) const LOOKED_AT_BEYOND: RawFd = 64;

/// The lowest number of an epoll instance of this process; `None` if none is found.
pub(super) fn find() -> Option<RawFd> {
    // Without a free descriptor there is no fork either, which says so.
    let unknown = eventfd(0, EventfdFlags::CLOEXEC).ok()?;
    let last = unknown.as_raw_fd().saturating_add(LOOKED_AT_BEYOND);
    (0..=last).find(|number| {
        // SAFETY: a number that is not -1; if it is not open, the call fails, and it changes nothing.
        let file = unsafe { BorrowedFd::borrow_raw(*number) };
        epoll::delete(file, &unknown) == Err(Errno::NOENT)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoll_instance_is_found_and_does_not_change() {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let known = eventfd(1, EventfdFlags::CLOEXEC).unwrap();
        epoll::add(&epoll, &known, epoll::EventData::new_u64(7), epoll::EventFlags::IN).unwrap();
        assert!(find().is_some());
        let mut events = Vec::with_capacity(4);
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None).unwrap();
        assert_eq!(events.len(), 1, "it still knows what it knew");
    }
}

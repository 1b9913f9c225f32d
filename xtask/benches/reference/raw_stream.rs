//! A pair of stream sockets, used only through send(2) and recv(2), and the smallest server with an event loop:
//! epoll_wait(2), recv(2), send(2). Both sleep in the kernel while there is nothing.

use std::os::fd::OwnedFd;

use anyhow::{Result, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};

/// Makes two connected ends.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

/// Sends `request` and waits for an answer that is as long as `answer`.
#[inline]
pub(crate) fn ask(end: &OwnedFd, request: &[u8], answer: &mut [u8]) -> Result<()> {
    send(end, request, SendFlags::NOSIGNAL)?;
    let (length, _) = recv(end, &mut *answer, RecvFlags::empty())?;
    ensure!(length == answer.len(), "an answer of {length} bytes arrived");
    Ok(())
}

/// Answers every request, until the other end is closed.
pub(crate) fn serve(end: &OwnedFd, request_len: usize, answer: &[u8]) -> Result<()> {
    let mut request = vec![0; request_len];
    while recv(end, &mut *request, RecvFlags::empty())?.0 == request_len {
        send(end, answer, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Does the same with an event loop.
pub(crate) fn serve_events(end: &OwnedFd, request_len: usize, answer: &[u8]) -> Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, end, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    let mut request = vec![0; request_len];
    let mut events = Vec::with_capacity(8);
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        if recv(end, &mut *request, RecvFlags::DONTWAIT)?.0 != request_len {
            return Ok(());
        }
        send(end, answer, SendFlags::NOSIGNAL)?;
    }
}

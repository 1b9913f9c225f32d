//! A SEQPACKET socket pair, used only through send(2) and recv(2), which sleep in the kernel while there is nothing.

use std::os::fd::OwnedFd;

use anyhow::{Result, ensure};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};

/// Makes two connected ends.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends one packet.
#[inline]
pub(crate) fn send_packet(end: &OwnedFd, packet: &[u8]) -> Result<()> {
    send(end, packet, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for one packet, which must be as long as `packet`.
#[inline]
pub(crate) fn recv_packet(end: &OwnedFd, packet: &mut [u8]) -> Result<()> {
    let (length, _) = recv(end, &mut *packet, RecvFlags::empty())?;
    ensure!(length == packet.len(), "a packet of {length} bytes arrived");
    Ok(())
}

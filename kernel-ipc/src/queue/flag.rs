//! Flags: a flag is a descriptor that the processes sharing it make readable or unreadable. It is a datagram socket that is
//! connected to itself.
//!
//! Raising a flag sends a packet, and lowering it receives the packets that are there. Both happen under a queue's lock, on
//! a descriptor that may come from a peer, so neither may block. `MSG_DONTWAIT` belongs to the call. An eventfd would need
//! `O_NONBLOCK` instead, which all processes with the descriptor share: a peer could clear it between a check and the call.
//!
//! No other socket can send to one that is connected to itself, even if its name is known.
//!
//! Source: unix(7), "Autobind feature"; send(2).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use mp_sys::memory::MemoryError;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, send, sockopt};

/// The most packets that one lowering takes. An honest socket holds few: those of processes that begin to poll, and those of
/// producers that were slow to tell their news.
pub(super) const TAKEN_AT_ONCE: u64 = 8;
/// The size of a flag's buffer. It has room for all packets that its queue of packets can hold.
const BUFFER_BYTES: usize = 64 << 10;

/// A flag, as the module describes it.
#[derive(Debug)]
pub(super) struct Flag {
    file: Arc<OwnedFd>,
}

impl Flag {
    /// Makes a flag that is not readable.
    pub(super) fn new() -> Result<Self, MemoryError> {
        let make = || -> std::io::Result<UnixDatagram> {
            // For an empty path, the kernel chooses an unused name.
            let socket = UnixDatagram::bind("")?;
            socket.connect_addr(&socket.local_addr()?)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket =
            mp_sys::descriptors::beside_standard(make).map_err(
                |error| match rustix::io::Errno::from_io_error(&error) {
                    Some(errno) => MemoryError::from(errno),
                    None => MemoryError::System(error.into()),
                },
            )?;
        Ok(Self { file: Arc::new(socket.into()) })
    }

    /// Makes a flag from a descriptor that a peer sent. Returns `None` if it is not a local datagram socket. A socket that
    /// is connected elsewhere is useless for polling, and harmless.
    pub(super) fn of(file: OwnedFd) -> Option<Self> {
        let is_local = sockopt::socket_domain(&file) == Ok(AddressFamily::UNIX);
        let is_one = is_local && sockopt::socket_type(&file) == Ok(SocketType::DGRAM);
        is_one.then(|| Self { file: Arc::new(file) })
    }

    /// Returns the descriptor, for sending it.
    pub(super) fn file(&self) -> &Arc<OwnedFd> {
        &self.file
    }

    #[cold]
    pub(super) fn raise(&self) {
        // EAGAIN means that the socket is full, so it is readable.
        let _sent = send(&*self.file, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    pub(super) fn lower(&self) {
        let _taken = self.take(TAKEN_AT_ONCE);
    }

    /// Receives up to `most` packets, and returns how many there were.
    pub(super) fn take(&self, most: u64) -> u64 {
        let mut packet = [0; 1];
        // An error ends this: EAGAIN when nothing is left.
        let takes = (0..most).take_while(|_| recv(&*self.file, &mut packet, RecvFlags::DONTWAIT).is_ok());
        takes.fold(0, |taken, _| taken.saturating_add(1))
    }

    /// Wakes all who wait until the flag can be written, though it always can. The kernel reports that again when the size of
    /// the socket's buffer is set. Nothing is sent, so the flag does not become readable, and nothing can be taken away
    /// before a waiter has seen it.
    ///
    /// Source: `sk_setsockopt` in net/core/sock.c, "Wake up sending tasks if we upped the value".
    #[cold]
    pub(super) fn wake_writers(&self) {
        // If another kernel refuses, tasks look by their timers.
        let _set = sockopt::set_socket_send_buffer_size(&*self.file, BUFFER_BYTES);
    }
}

impl AsFd for Flag {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn is_readable(flag: &Flag) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(flag, PollFlags::IN)], Some(&now)).unwrap() == 1
    }

    #[test]
    fn it_is_readable_while_it_is_raised() {
        let flag = Flag::new().unwrap();
        assert!(!is_readable(&flag));
        flag.lower();
        flag.raise();
        flag.raise();
        assert!(is_readable(&flag));
        flag.lower();
        assert!(!is_readable(&flag));
    }

    #[test]
    fn it_never_blocks_though_a_peer_wants_it_to() {
        let flag = Flag::new().unwrap();
        let peers = UnixDatagram::from(flag.as_fd().try_clone_to_owned().unwrap());
        peers.set_nonblocking(false).unwrap();
        flag.lower();
        for _ in 0..10_000 {
            flag.raise();
        }
        assert!(is_readable(&flag), "full");
    }

    #[test]
    fn strangers_cannot_send_to_it() {
        let flag = Flag::new().unwrap();
        let same = UnixDatagram::from(flag.as_fd().try_clone_to_owned().unwrap());
        let name = same.local_addr().unwrap();
        assert!(UnixDatagram::unbound().unwrap().send_to_addr(b"x", &name).is_err());
        assert!(!is_readable(&flag));
    }

    #[test]
    fn other_descriptors_are_refused() {
        let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let (read, _write) = rustix::pipe::pipe().unwrap();
        let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        let internet = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for file in [stream.into(), read, event, internet.into()] {
            assert!(Flag::of(file).is_none());
        }
    }
}

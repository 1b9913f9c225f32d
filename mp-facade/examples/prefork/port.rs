//! The port: who listens, and how it closes without dropping anybody.

use std::io;
use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result};
use socket2::{Domain, SockFilter, SockRef, Socket, Type};

use crate::limits::BACKLOG_MAX;

/// Listens at an address. Workers inherit the listener and share one backlog, so a client that no worker has accepted yet
/// belongs to all of them.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listen = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG_MAX)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    listen().with_context(|| format!("cannot listen at {address}"))
}

/// Lets nobody new in, for all processes that share the listener.
///
/// A listener that is just closed resets everybody who waits in its backlog. So from now on, the kernel drops the packets that
/// begin a connection. Who is already connected comes through: workers accept until the backlog is empty, and close it then.
/// Newcomers repeat their first packet, and are refused when the port is closed. They have sent no request yet.
pub(crate) fn close_to_newcomers(listener: &TcpListener) -> io::Result<()> {
    // The classic BPF of socket(7), SO_ATTACH_FILTER: load the byte of flags from the TCP header, and drop the packet if SYN is
    // set. The backlog's connections inherit the filter, which does not matter, as none of their packets has SYN.
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 0x02;
    let program = [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_AT),
        SockFilter::new(JUMP_IF_SET, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    SockRef::from(listener).attach_filter(&program)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_is_in_the_backlog_comes_through_and_nobody_else() {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let mut early: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
        close_to_newcomers(&listener).unwrap();
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(50)).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        for client in &mut early {
            client.write_all(b"?").unwrap();
        }
        for client in &mut early {
            let (mut server, _) = listener.accept().unwrap();
            server.set_nonblocking(false).unwrap();
            server.write_all(b"!").unwrap();
            let _: usize = client.read(&mut [0]).unwrap();
        }
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

//! The port: who listens, and how it closes without dropping anybody.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, SockFilter, SockRef, Socket, Type};

use crate::limits::{BACKLOG_MAX, REFUSAL_WAIT_MAX, REFUSED_AT_ONCE};

/// What a client gets whom nobody can serve any more.
const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 16\r\n\r\nthe server ends\n";

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

/// Whether somebody is in the backlog, or comes into it within this time.
pub(crate) fn has_clients(listener: &TcpListener, patience: Duration) -> bool {
    // If the kernel does not say it, a worker has to look.
    mp::wait([listener], patience).map_or(true, |ready| !ready.is_empty())
}

/// Answers everybody in the backlog with 503, and returns how many there were. Only for a server that cannot start workers: a
/// reset would not say what has happened.
///
/// # Errors
/// If there are no descriptors for them.
pub(crate) fn refuse_all(listener: &TcpListener) -> io::Result<usize> {
    let mut refused = 0;
    // There are no more, unless the port is not closed to newcomers.
    while refused <= BACKLOG_MAX.unsigned_abs() as usize {
        let mut clients = Vec::new();
        while clients.len() < REFUSED_AT_ONCE {
            match listener.accept() {
                Ok((client, _)) => clients.push(client),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                // Those that are answered bring descriptors back.
                Err(error) if clients.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        if clients.is_empty() {
            break;
        }
        refused += clients.len();
        let deadline = Instant::now() + REFUSAL_WAIT_MAX;
        // A client that has left is none that could be answered.
        clients.iter_mut().for_each(|client| drop(refuse(client)));
        clients.iter_mut().for_each(|client| drop(read_rest(client, deadline)));
    }
    Ok(refused)
}

fn refuse(client: &mut TcpStream) -> io::Result<()> {
    // The answer fits into the buffer of a new connection.
    client.set_nonblocking(true)?;
    client.write_all(REFUSAL)?;
    client.shutdown(Shutdown::Write)
}

/// Reads until the client has closed its side: a connection that is closed with unread bytes is reset, and its client may not
/// see the answer.
fn read_rest(client: &mut TcpStream, deadline: Instant) -> io::Result<()> {
    client.set_nonblocking(false)?;
    while let left = deadline.saturating_duration_since(Instant::now())
        && !left.is_zero()
    {
        client.set_read_timeout(Some(left))?;
        if client.read(&mut [0; 4096])? == 0 {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_in_the_backlog_comes_through_and_nobody_else() {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let mut early: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
        close_to_newcomers(&listener).unwrap();
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(50)).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TimedOut);
        for client in &mut early {
            client.write_all(b"?").unwrap();
        }
        for client in &mut early {
            let (mut server, _) = listener.accept().unwrap();
            server.set_nonblocking(false).unwrap();
            server.write_all(b"!").unwrap();
            let _: usize = client.read(&mut [0]).unwrap();
        }
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn who_cannot_be_served_is_told_so() {
        const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        assert!(!has_clients(&listener, Duration::ZERO));
        // More than are answered at once. One of them sends nothing.
        let connect = |_| TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut clients: Vec<TcpStream> = (0..=REFUSED_AT_ONCE).map(connect).collect();
        clients.iter_mut().skip(1).for_each(|client| client.write_all(REQUEST).unwrap());
        assert!(has_clients(&listener, REFUSAL_WAIT_MAX));
        let read = move || {
            for mut client in clients {
                let mut answer = String::new();
                client.read_to_string(&mut answer).unwrap();
                assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\nthe server ends\n"));
            }
        };
        let reader = std::thread::Builder::new().spawn(read).unwrap();
        assert_eq!(refuse_all(&listener).unwrap(), REFUSED_AT_ONCE + 1);
        reader.join().unwrap();
        assert!(!has_clients(&listener, Duration::ZERO));
    }
}

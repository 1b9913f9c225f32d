//! An HTTP client with one connection, which notices everything that goes wrong.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// Long enough for any answer; an answer that never comes is an error.
const PATIENCE: Duration = Duration::from_secs(60);

/// A keep-alive connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
    /// The worker that has answered on this connection.
    pub(crate) worker: Option<u32>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Whether the server closes the connection after this answer.
    pub(crate) fn is_last(&self) -> bool {
        self.header("connection") == Some("close")
    }

    /// The number of the hit.
    pub(crate) fn hit(&self) -> u64 {
        self.header("x-hit").unwrap().parse().unwrap()
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::connect_from([127, 0, 0, 1].into(), address)
    }

    /// Connects from one of this machine's own addresses: the whole of 127.0.0.0/8.
    pub(crate) fn connect_from(source: IpAddr, address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.connect_timeout(&address.into(), PATIENCE)?;
        let stream: TcpStream = socket.into();
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, unread: Vec::new(), worker: None })
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Reply> {
        self.get_with(path, "")
    }

    /// Asks with more headers, each of which ends with `\r\n`.
    pub(crate) fn get_with(&mut self, path: &str, headers: &str) -> io::Result<Reply> {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n{headers}\r\n").as_bytes())?;
        self.reply()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(crate) fn reply(&mut self) -> io::Result<Reply> {
        let head_end = loop {
            if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.fill()?;
        };
        let head = String::from_utf8(self.unread[..head_end].to_vec()).map_err(io::Error::other)?;
        let mut reply = Reply { status: 0, head, body: String::new() };
        reply.status =
            reply.head.get(9..12).and_then(|code| code.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let length: usize = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < head_end + length {
            self.fill()?;
        }
        let rest = self.unread.split_off(head_end + length);
        let whole = std::mem::replace(&mut self.unread, rest);
        reply.body = String::from_utf8(whole[head_end..].to_vec()).map_err(io::Error::other)?;
        self.worker = reply.header("x-worker").map(|pid| pid.parse().unwrap());
        Ok(reply)
    }

    /// Waits until the server closes the connection, and returns whether it sent nothing before.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.fill() {
            Ok(()) => false,
            Err(error) => {
                let is_end = matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
                );
                assert!(is_end, "the server has not closed the connection: {error}");
                true
            }
        }
    }

    /// Whether there are bytes to read now.
    pub(crate) fn has_answer(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let has = self.stream.peek(&mut [0]).is_ok();
        self.stream.set_nonblocking(false).unwrap();
        has
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => {
                self.unread.extend_from_slice(&buffer[..bytes]);
                Ok(())
            }
        }
    }
}

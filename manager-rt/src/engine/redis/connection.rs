//! [`Connection`]: one connection to Redis.
//!
//! The crate `redis` encodes commands and parses answers. Its own connections cannot be asked whether Redis has closed
//! them, and skip an answer that came too late.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::descriptors::{above_standard, stream_socket};
use redis::{ConnectionAddr, ConnectionInfo, ErrorKind, Parser, RedisError, Value as Item};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketAddrUnix, recv, send, shutdown};
#[cfg(feature = "redis-tls")]
use rustls::{ClientConnection, StreamOwned};

use super::tls::Trust;
#[cfg(feature = "redis-tls")]
use super::tls::encrypt;

/// One connection to Redis. After an error of the system, it is of no use any more.
pub(super) struct Connection {
    stream: Stream,
    parser: Parser,
    /// The commands that were sent before the next one, and whose answers nobody waits for.
    posted: VecDeque<Vec<u8>>,
}

enum Stream {
    Plain(Plain),
    #[cfg(feature = "redis-tls")]
    Encrypted(Box<StreamOwned<ClientConnection, Plain>>),
}

pub(super) enum Plain {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Why a connection was not opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// What Redis or the system said.
    Redis(RedisError),
    /// What is wrong with the certificate.
    #[cfg(feature = "redis-tls")]
    Untrusted(super::Unreachable),
}

impl From<RedisError> for OpenError {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Redis(error.into())
    }
}

impl Connection {
    /// Connects, and names the user and the database. Each step takes at most `time`.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(super) fn open(info: &ConnectionInfo, trust: &Trust, time: Duration) -> Result<Self, OpenError> {
        let plain = match info.addr() {
            ConnectionAddr::Tcp(host, port) => Plain::Tcp(connect(host, *port, time)?),
            ConnectionAddr::Unix(path) => Plain::Unix(connect_local(path)?),
            _ => {
                let error = (ErrorKind::InvalidClientConfig, "this is another kind of connection");
                return Err(RedisError::from(error).into());
            }
        };
        plain.answers_within(time)?;
        let stream = encrypted(plain, info.addr(), trust, time)?;
        let mut connection = Self { stream, parser: Parser::new(), posted: VecDeque::new() };
        let settings = info.redis_settings();
        if let Some(password) = settings.password() {
            let mut login = redis::cmd("AUTH");
            settings.username().iter().for_each(|user| {
                login.arg(user);
            });
            connection.ask(login.arg(password)).map_err(|error| match error.is_io_error() {
                true => error,
                false => RedisError::from((ErrorKind::AuthenticationFailed, "Redis refused the password")),
            })?;
        }
        if settings.db() != 0 {
            connection.ask(redis::cmd("SELECT").arg(settings.db()))?;
        }
        Ok(connection)
    }

    /// Sets how long Redis may take to accept a command, and to answer it.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub(super) fn answers_within(&self, time: Duration) -> io::Result<()> {
        self.stream.plain().answers_within(time)
    }

    /// Returns `true` if the next answer will be that of the next command: Redis has neither closed the connection nor
    /// said anything that nobody asked for.
    pub(super) fn is_ready(&mut self) -> bool {
        let peek =
            |connection: &Self| recv(connection, &mut [0_u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        self.has_read_posted() && matches!(peek(self), Err(Errno::AGAIN))
    }

    /// The same, unless [`send`](Self::send) finds out whether Redis has closed the connection. On a local socket it does: it fails
    /// as soon as the other side is closed.
    pub(super) fn is_ready_to_send(&mut self) -> bool {
        if matches!(self.stream, Stream::Plain(Plain::Unix(_))) {
            self.has_read_posted()
        } else {
            self.is_ready()
        }
    }

    /// Reads the answers for which nobody waits.
    fn has_read_posted(&mut self) -> bool {
        while !self.posted.is_empty() {
            if self.receive().is_err() {
                return false;
            }
            self.posted.pop_front();
        }
        true
    }

    /// Sends a command, or a transaction of commands.
    ///
    /// # Errors
    /// Those of send(2). Redis has not received all of it, so it does nothing.
    pub(super) fn send(&mut self, packed: &[u8]) -> io::Result<()> {
        self.stream.write_all(packed)?;
        self.stream.flush()
    }

    /// Notes that a command was sent whose answer nobody waits for.
    pub(super) fn has_posted(&mut self, packed: Vec<u8>) {
        self.posted.push_back(packed);
    }

    /// Returns the commands that were sent without waiting for the answers, and that Redis may not have received.
    pub(super) fn into_posted(self) -> impl Iterator<Item = Vec<u8>> {
        self.posted.into_iter()
    }

    /// Ends the connection, so that its next use finds it broken.
    pub(super) fn end(&self) {
        let ended = shutdown(self, Shutdown::Both);
        tracing::trace!(?ended, "a connection was ended");
    }

    /// Waits for an answer.
    ///
    /// # Errors
    /// That of the system. What Redis refuses is an [`Item::ServerError`].
    pub(super) fn receive(&mut self) -> Result<Item, RedisError> {
        self.parser.parse_value(&mut self.stream)
    }

    /// Sends one command, and returns its answer.
    ///
    /// # Errors
    /// What Redis or the system says.
    pub(super) fn ask(&mut self, command: &redis::Cmd) -> Result<Item, RedisError> {
        self.send(&command.get_packed_command())?;
        match self.receive()? {
            Item::ServerError(error) => Err(error.into()),
            item => Ok(item),
        }
    }
}

fn connect(host: &str, port: u16, time: Duration) -> io::Result<TcpStream> {
    let mut refused = io::Error::from(io::ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, time) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(above_standard(stream.into())?.into());
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn connect_local(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::from(stream_socket()?);
    stream.set_nonblocking(false)?;
    let address = SocketAddrUnix::new(path)?;
    retry_on_intr(|| rustix::net::connect(&stream, &address))?;
    Ok(stream)
}

#[cfg(feature = "redis-tls")]
fn encrypted(
    plain: Plain,
    address: &ConnectionAddr,
    trust: &Trust,
    time: Duration,
) -> Result<Stream, OpenError> {
    match (address, &trust.config) {
        (ConnectionAddr::Tcp(host, _), Some(config)) => {
            Ok(Stream::Encrypted(Box::new(encrypt(config, host, plain, time)?)))
        }
        _ => Ok(Stream::Plain(plain)),
    }
}

#[cfg(not(feature = "redis-tls"))]
fn encrypted(plain: Plain, _: &ConnectionAddr, _: &Trust, _: Duration) -> Result<Stream, OpenError> {
    Ok(Stream::Plain(plain))
}

impl Plain {
    pub(super) fn answers_within(&self, time: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(time))?;
                stream.set_write_timeout(Some(time))
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(time))?;
                stream.set_write_timeout(Some(time))
            }
        }
    }
}

impl Stream {
    fn plain(&self) -> &Plain {
        match self {
            Self::Plain(plain) => plain,
            #[cfg(feature = "redis-tls")]
            Self::Encrypted(stream) => &stream.sock,
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.stream.plain() {
            Plain::Tcp(stream) => stream.as_fd(),
            Plain::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(plain) => plain.read(into),
            #[cfg(feature = "redis-tls")]
            Self::Encrypted(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(plain) => plain.write(bytes),
            #[cfg(feature = "redis-tls")]
            Self::Encrypted(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(plain) => plain.flush(),
            #[cfg(feature = "redis-tls")]
            Self::Encrypted(stream) => stream.flush(),
        }
    }
}

/// Repeats a call that a signal may interrupt: with a timeout, the kernel does not restart it. The timeout begins anew at the
/// first signal, and not at later ones, so that it passes under a timer.
fn uninterrupted<T>(
    time: impl Fn() -> io::Result<Option<Duration>>,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let mut deadline = None;
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                let end = match deadline {
                    Some(end) => end,
                    None => *deadline.insert(time()?.map_or(Deadline::NEVER, Deadline::after)),
                };
                if end.has_passed() {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
            }
            outcome => return outcome,
        }
    }
}

impl Read for Plain {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => uninterrupted(|| stream.read_timeout(), || (&*stream).read(into)),
            Self::Unix(stream) => uninterrupted(|| stream.read_timeout(), || (&*stream).read(into)),
        }
    }
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => uninterrupted(|| stream.write_timeout(), || (&*stream).write(bytes)),
            // No signal, if the other side has closed it: a program may have that signal end it.
            Self::Unix(stream) => {
                uninterrupted(|| stream.write_timeout(), || Ok(send(&*stream, bytes, SendFlags::NOSIGNAL)?))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::net::TcpListener;

    use mp_sys::testing::{eventually, interrupts, spawn_beside_threads, succeeded, tick};
    use redis::IntoConnectionInfo;

    use super::*;

    #[test]
    fn a_connection_is_not_ready_once_the_other_side_has_said_or_ended_something() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let info = url.into_connection_info().unwrap();
        for says in [&b"+OK\r\n"[..], b""] {
            let mut connection = Connection::open(&info, &Trust::default(), Duration::from_secs(60)).unwrap();
            let (mut other, _) = listener.accept().unwrap();
            assert!(connection.is_ready());
            connection.send(b"x").unwrap();
            connection.has_posted(b"x".to_vec());
            other.write_all(b":1\r\n").unwrap();
            assert!(connection.is_ready(), "nobody waits for this answer");
            other.write_all(says).unwrap();
            drop(other);
            let connection = RefCell::new(connection);
            eventually("it is not ready", || !connection.borrow_mut().is_ready());
        }
    }

    #[test]
    fn a_signal_ends_no_wait_for_an_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let info = url.into_connection_info().unwrap();
        let child = spawn_beside_threads(|| {
            let mut connection = Connection::open(&info, &Trust::default(), Duration::from_secs(60)).unwrap();
            let (mut other, _) = listener.accept().unwrap();
            tick(Duration::from_millis(1), true);
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    let before = interrupts();
                    eventually("many signals have arrived", || interrupts() > before + 50);
                    other.write_all(b"+OK\r\n").unwrap();
                });
                assert_eq!(connection.receive().unwrap(), Item::Okay);
            });
        });
        succeeded(&child);
    }
}

//! Encrypted connections, for `amqps://`.
//!
//! The client of AMQP could encrypt, but it would trust the authorities of the system besides the one that an address names. So it talks to
//! one end of a pair of sockets, and a task passes on between the other end and a connection that is encrypted here.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::time::Duration;

use async_compat::Compat;
use lapin::runtime::default_runtime;
use lapin::tcp::AsyncTcpStream;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use tokio::io::{AsyncWriteExt, copy};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::NotReached;
use super::keeper::lock;
use super::link::not_reached;
use super::talk::unless;
use crate::address::RabbitMqUrl;
use crate::engine::trust::{Trustless, Untrusted, name_of, trust, untrusted};

/// How long the server may take to hear that a connection has ended.
const END_TIME_MAX: Duration = Duration::from_secs(1);

/// Checks that a client of this server trusts somebody.
///
/// # Errors
/// [`NotReached::NoAuthorities`], [`NotReached::AuthoritiesUnread`].
pub(super) fn check(url: &RabbitMqUrl) -> Result<(), NotReached> {
    if url.is_encrypted() { trust(url.authorities()).map(drop).map_err(trustless) } else { Ok(()) }
}

/// Connects to a server, and encrypts that.
///
/// # Errors
/// [`NotReached`].
pub(super) async fn connect(
    url: &str,
    authorities: Option<&str>,
    properties: ConnectionProperties,
) -> Result<Connection, NotReached> {
    let uri: AMQPUri = url.parse().map_err(|_| NotReached::Protocol)?;
    let encrypted = encrypt(&uri, authorities).await?;
    let plain = Mutex::new(Some(passed_on(encrypted).map_err(|error| system(&error))?));
    let runtime = default_runtime().map_err(|error| not_reached(&error))?;
    let give = async move |_, _| {
        let plain = lock(&plain).take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        Ok::<_, lapin::Error>(AsyncTcpStream::Plain(Compat::new(plain)))
    };
    let connected = Connection::connector(uri, runtime, give, properties).await;
    connected.map_err(|error| not_reached(&error))
}

async fn encrypt(uri: &AMQPUri, authorities: Option<&str>) -> Result<TlsStream<TcpStream>, NotReached> {
    let host = uri.authority.host.as_str();
    let (config, name) = (trust(authorities).map_err(trustless)?, name_of(host).map_err(not_trusted)?);
    let at = (host.trim_matches(['[', ']']), uri.authority.port);
    let plain = TcpStream::connect(at).await.map_err(|_| NotReached::NotFound)?;
    let delayed = plain.set_nodelay(true);
    tracing::trace!(?delayed, "small packets leave at once");
    TlsConnector::from(config).connect(name, plain).await.map_err(|error| {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(inner) => not_trusted(untrusted(inner)),
            None => not_reached(&error.into()),
        }
    })
}

/// Passes on between an encrypted connection and a socket, which is returned. It ends with either of them.
fn passed_on(encrypted: TlsStream<TcpStream>) -> io::Result<TcpStream> {
    let (mut own, other) = UnixStream::pair()?;
    let other = std::net::TcpStream::from(OwnedFd::from(other.into_std()?));
    tokio::spawn(async move {
        let (mut from, mut to) = own.split();
        let (mut encrypted_from, mut encrypted_to) = tokio::io::split(encrypted);
        // Whichever side ends first: the other one may be a host that is gone, and would never end.
        let ended = unless(copy(&mut from, &mut encrypted_to), async {
            let ended = copy(&mut encrypted_from, &mut to).await;
            tracing::trace!(?ended, "the server has ended an encrypted connection");
        });
        let ended = ended.await;
        tracing::debug!(?ended, "an encrypted connection has ended");
        let said = timeout(END_TIME_MAX, encrypted_to.shutdown()).await;
        tracing::trace!(?said, "the server knows that it has ended");
    });
    // What counts is that it can be read and written like one.
    TcpStream::from_std(other)
}

fn trustless(trustless: Trustless) -> NotReached {
    match trustless {
        Trustless::NoAuthorities => NotReached::NoAuthorities,
        Trustless::AuthoritiesUnread(error) => NotReached::AuthoritiesUnread(error),
    }
}

fn not_trusted(why: Untrusted) -> NotReached {
    match why {
        Untrusted::UnknownAuthority => NotReached::UnknownAuthority,
        Untrusted::OtherHost => NotReached::OtherHost,
        Untrusted::BadCertificate => NotReached::BadCertificate,
        Untrusted::Protocol => NotReached::Protocol,
    }
}

fn system(error: &io::Error) -> NotReached {
    tracing::debug!(%error, "there are no sockets");
    NotReached::NotFound
}

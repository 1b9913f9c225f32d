//! Connecting: from an address and a key to a stream whose other side has proved to be a manager.

use mp_sys::deadline::Deadline;
use mp_sys::handoff::nonce;
use mp_sys::handshake::{Agreed, Connecting, Next, Refusal, STEP_BYTES_MAX, Versions};
use mp_sys::stream::{Interest, ReadFailure, WriteFailure};

use crate::OsError;
use crate::address::Address;
use crate::limits::{HANDSHAKE_TIME_MAX, REMOTE_KEY_BYTES_MIN};
use crate::proto::Fault;
use crate::transport::{self, Channel, OpenError};
use crate::wire::frame::{self, FAULT_BYTES_MAX, FrameKind, HEAD_BYTES, Head, VERSIONS};

const EPOCH_BYTES: usize = 16;

/// Why a connection to a manager could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No process listens at this address.
    #[error("no server listens at this address")]
    NotFound,
    /// No server can have this address: it is too long, or contains a NUL.
    #[error("this is not a valid address")]
    BadAddress,
    /// The server did not accept the connection before the timeout.
    #[error("the server did not accept the connection before the timeout")]
    TimedOut,
    /// The server has another key.
    #[error("the server has another key")]
    Unauthorised,
    /// No host has this name. (Feature `tcp`.)
    #[error("no host has this name")]
    UnknownHost,
    /// The other side ended the connection instead of proving that it has the key. It has another key, or it is not a
    /// manager. (Feature `tcp`.)
    #[error("the server has another key, or is not a manager")]
    Rejected,
    /// A manager on another host is reached with a key of at least
    /// [`REMOTE_KEY_BYTES_MIN`] bytes. (Feature `tcp`.)
    #[error(
        "a key of {bytes} bytes is too short for a connection between hosts, which needs {REMOTE_KEY_BYTES_MIN}"
    )]
    KeyTooShort {
        /// The length of the key, in bytes.
        bytes: usize,
    },
    /// The server at this address belongs to another user.
    #[error("the server at this address belongs to another user")]
    OtherUser,
    /// The server at this address does not speak the protocol of managers.
    #[error("the server at this address does not speak the protocol of managers")]
    Protocol,
    /// The server at this address and this build know no common version of the protocol: one of them is too old.
    #[error(
        "the server knows version {theirs} of the protocol, and this build knows version {ours}: upgrade the older one"
    )]
    NoCommonVersion {
        /// The versions that this build knows.
        ours: Versions,
        /// The versions that the server knows.
        theirs: Versions,
    },
    /// The server accepted the key, but does not serve this process, because it has reached its limit of clients.
    #[error("the server refused this client: {0}")]
    Refused(#[from] Fault),
    /// The server closed the connection, because it is ending.
    #[error("the server closed the connection")]
    Closed,
    /// The authority that signed the server's certificate is not trusted. (Features `redis-tls`, `rabbitmq-tls`.)
    #[error("the authority that signed the server's certificate is not trusted")]
    UnknownAuthority,
    /// The server's certificate is for another host. (Features `redis-tls`, `rabbitmq-tls`.)
    #[error("the server's certificate is for another host")]
    OtherHost,
    /// The server's certificate is over, or is not one. (Features `redis-tls`, `rabbitmq-tls`.)
    #[error("the server's certificate is not valid")]
    BadCertificate,
    /// The address names no file with certificates of authorities (`?ca=`), and there are none where systems keep them. (Features
    /// `redis-tls`, `rabbitmq-tls`.)
    #[error(
        "there are no certificates of trusted authorities on this system, and the address names no file (?ca=)"
    )]
    NoAuthorities,
    /// The file with certificates of authorities that the address names (`?ca=`) cannot be read, or contains none (`ENODATA`).
    /// (Features `redis-tls`, `rabbitmq-tls`.)
    #[error(
        "the certificates of trusted authorities in the file that the address names (?ca=) cannot be used: {0}"
    )]
    AuthoritiesUnread(#[source] OsError),
    /// The server has no such virtual host, or the user may not use it. (Feature `rabbitmq`.)
    #[error("the server has no such virtual host, or the user may not use it")]
    NoVirtualHost,
    /// This process has as many connections as a process may have.
    #[error("this process has too many connections")]
    TooMany,
    /// The kernel refused; `EMFILE` if no descriptor was free.
    #[error("the kernel refused the connection: {0}")]
    System(#[from] OsError),
}

impl From<OpenError> for ConnectError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NotFound => Self::NotFound,
            OpenError::BadAddress => Self::BadAddress,
            OpenError::TimedOut => Self::TimedOut,
            OpenError::OtherUser => Self::OtherUser,
            OpenError::Closed => Self::Closed,
            OpenError::TooMany => Self::TooMany,
            OpenError::System(error) => Self::System(error),
            #[cfg(feature = "tcp")]
            OpenError::UnknownHost => Self::UnknownHost,
            #[cfg(feature = "tcp")]
            OpenError::Rejected => Self::Rejected,
            #[cfg(feature = "tcp")]
            OpenError::KeyTooShort { bytes } => Self::KeyTooShort { bytes },
        }
    }
}

/// Converts the error of a read.
const fn unread(failure: ReadFailure) -> ConnectError {
    match failure {
        ReadFailure::System(error) => ConnectError::System(error),
        _ => ConnectError::Closed,
    }
}

/// Converts the error of a write.
const fn unwritten(failure: WriteFailure) -> ConnectError {
    match failure {
        WriteFailure::System(error) => ConnectError::System(error),
        _ => ConnectError::Closed,
    }
}

/// A stream whose other side has proved to be a manager.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) stream: Channel,
    /// The server's epoch.
    pub(super) epoch: u128,
    /// The version of the protocol that both sides use.
    pub(super) agreed: Agreed,
}

/// Connects, proves the key, and checks the server's proof.
///
/// # Errors
/// [`ConnectError`].
pub(super) fn open(address: &Address, key: &[u8], deadline: Deadline) -> Result<Opened, ConnectError> {
    let stream = transport::open(address, key, deadline)?;
    let (agreed, deadline) = shake_hands(&stream, key, deadline)?;
    let epoch = hear_welcome(&stream, deadline)?;
    Ok(Opened { stream, epoch, agreed })
}

/// Runs the handshake, and returns the version to use, and the deadline for the rest: a server that has begun to answer
/// has at most [`HANDSHAKE_TIME_MAX`].
fn shake_hands(stream: &Channel, key: &[u8], deadline: Deadline) -> Result<(Agreed, Deadline), ConnectError> {
    let terms = frame::terms(key);
    let (mut side, hello) = Connecting::new(terms, nonce()?);
    say(stream, &hello)?;
    let mut begun: Option<Deadline> = None;
    loop {
        let mut bytes = [0; STEP_BYTES_MAX];
        // The welcome may follow directly after the last step.
        let Some(place) = bytes.get_mut(..side.missing()) else { return Err(ConnectError::Protocol) };
        let len = read_some(stream, place, begun.unwrap_or(deadline))?;
        let until = *begun.get_or_insert_with(|| deadline.min(Deadline::after(HANDSHAKE_TIME_MAX)));
        match side.hear(terms, place.get(..len).unwrap_or_default()) {
            Next::Wait => {}
            Next::Say(bytes) => say(stream, &bytes)?,
            Next::Agree(_) => {
                let agreed = side.agreed().ok_or(ConnectError::Protocol)?;
                return Ok((agreed, until));
            }
            Next::Refuse(_, Refusal::Unauthorised) => return Err(ConnectError::Unauthorised),
            Next::Refuse(_, Refusal::NoCommonVersion { theirs }) => {
                return Err(ConnectError::NoCommonVersion { ours: VERSIONS, theirs });
            }
            // The server is not a manager.
            Next::Refuse(..) => return Err(ConnectError::Protocol),
        }
    }
}

fn hear_welcome(stream: &Channel, deadline: Deadline) -> Result<u128, ConnectError> {
    let head = Head::of(&read_all::<HEAD_BYTES>(stream, deadline)?).ok_or(ConnectError::Protocol)?;
    match (head.kind, usize::try_from(head.body_len)) {
        (FrameKind::Welcome, Ok(EPOCH_BYTES)) => {
            Ok(u128::from_le_bytes(read_all::<EPOCH_BYTES>(stream, deadline)?))
        }
        (FrameKind::Fault, Ok(len @ ..=FAULT_BYTES_MAX)) => {
            let mut bytes = [0; FAULT_BYTES_MAX];
            let Some(body) = bytes.get_mut(..len) else { return Err(ConnectError::Protocol) };
            fill(stream, body, deadline)?;
            let fault: Fault = postcard::from_bytes(body).map_err(|_| ConnectError::Protocol)?;
            Err(ConnectError::Refused(fault))
        }
        _ => Err(ConnectError::Protocol),
    }
}

/// Writes a step of the handshake, which fits into any socket to which nothing was written before.
fn say(stream: &Channel, bytes: &[u8]) -> Result<(), ConnectError> {
    match stream.try_write(bytes).map_err(unwritten)? {
        written if written == bytes.len() => Ok(()),
        _ => Err(ConnectError::Closed),
    }
}

fn read_all<const LEN: usize>(stream: &Channel, deadline: Deadline) -> Result<[u8; LEN], ConnectError> {
    let mut bytes = [0; LEN];
    fill(stream, &mut bytes, deadline)?;
    Ok(bytes)
}

fn fill(stream: &Channel, mut place: &mut [u8], deadline: Deadline) -> Result<(), ConnectError> {
    while !place.is_empty() {
        let len = read_some(stream, place, deadline)?;
        place = place.get_mut(len..).unwrap_or_default();
    }
    Ok(())
}

fn read_some(stream: &Channel, into: &mut [u8], deadline: Deadline) -> Result<usize, ConnectError> {
    loop {
        match stream.try_read(into) {
            Ok(0) => return Err(ConnectError::Closed),
            Ok(len) => return Ok(len),
            Err(ReadFailure::Empty) if deadline.has_passed() => return Err(ConnectError::TimedOut),
            // If there is an error, the next read returns it.
            Err(ReadFailure::Empty) => drop(stream.ready(Interest::Read, deadline)),
            Err(failure) => return Err(unread(failure)),
        }
    }
}

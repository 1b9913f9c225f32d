//! The connecting side of connections by name.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use interprocess::ConnectWaitMode;
use interprocess::local_socket::ConnectOptions;
use interprocess::os::unix::uds_local_socket::Stream;
use mp_sys::OsError;
use mp_sys::adaptive::Budget;
use mp_sys::deadline::Deadline;
use mp_sys::descriptors::above_standard;
use mp_sys::handoff::{Heard, hear, is_same_user, nonce, say};
use mp_sys::handshake::{Connecting, Next, Refusal, STEP_BYTES_MAX, Terms};
use mp_sys::ready;
use mp_sys::socket::Endpoint;
use rustix::io::Errno;
use rustix::net::getpeername;

use super::{PROTOCOL, name_of};
use crate::address::Address;
use crate::connection::Connection;
use crate::error::ConnectError;
use crate::limits::HANDSHAKE_TIME_MAX;
use crate::message::{Type, print_of};

/// The pause between two attempts while the listener's queue is full.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(2);

/// Connects to the listener at this address, waiting until it accepts.
///
/// A listener that has begun to answer must finish within [`HANDSHAKE_TIME_MAX`], however slowly its bytes arrive.
///
/// # Errors
/// [`ConnectError::NotFound`] if no process listens under this name; [`ConnectError::Unauthorised`] if the keys differ;
/// [`ConnectError::WrongType`] if the types differ; [`ConnectError::TimedOut`] if the listener begins to answer and does
/// not finish in time.
///
/// # Fork safety
/// A forked child has the connection too.
///
/// # Source
/// Python's `multiprocessing.connection.Client`.
///
/// # Examples
/// ```
/// # extern crate kernel_ipc as mp;
/// let error = mp::connect::<u32, u32>("an unused name").unwrap_err();
/// assert_eq!(error, mp::ConnectError::NotFound);
/// ```
#[doc(alias = "Client")]
pub fn connect<S, R>(address: impl Into<Address>) -> Result<Connection<S, R>, ConnectError> {
    connect_until(&address.into(), Deadline::NEVER)
}

/// Connects to the listener at this address, waiting at most `timeout` (monotonic clock; `Duration::MAX` waits forever).
///
/// # Errors
/// [`ConnectError::TimedOut`] if the listener has not accepted by then; otherwise those of [`connect`].
pub fn connect_timeout<S, R>(
    address: impl Into<Address>,
    timeout: Duration,
) -> Result<Connection<S, R>, ConnectError> {
    connect_until(&address.into(), Deadline::after(timeout))
}

fn connect_until<S, R>(address: &Address, mut deadline: Deadline) -> Result<Connection<S, R>, ConnectError> {
    let stream = reach(address, deadline)?;
    if !is_same_user(stream.as_fd()) {
        return Err(ConnectError::OtherUser);
    }
    // The terms are the listener's: it sends what this side receives, and the reverse.
    let (sends, receives) = (print_of::<R>(), print_of::<S>());
    let terms = Terms { magic: PROTOCOL, key: address.key_bytes(), sends, receives, offer: None };
    let (mut side, hello) = Connecting::new(terms, nonce()?);
    say(stream.as_fd(), &hello, None)?;
    let budget = Budget::new();
    let mut descriptor: Option<OwnedFd> = None;
    let mut has_begun = false;
    loop {
        let mut bytes = [0; STEP_BYTES_MAX];
        let next = match hear(stream.as_fd(), &mut bytes)? {
            Heard::Bytes(len, arrived) => {
                if !has_begun {
                    // A listener may accept late, but once it answers, it does so without pauses.
                    deadline = deadline.min(Deadline::after(HANDSHAKE_TIME_MAX));
                    has_begun = true;
                }
                descriptor = arrived.or(descriptor);
                side.hear(terms, bytes.get(..len).unwrap_or_default())
            }
            // The listener ended, or gave up this handshake: this side was too slow, or the listener had no free
            // descriptor.
            Heard::End => return Err(ConnectError::Closed),
            Heard::Nothing if deadline.has_passed() => return Err(ConnectError::TimedOut),
            Heard::Nothing => {
                ready::readable(&[stream.as_fd()], &budget, deadline)?;
                continue;
            }
        };
        match next {
            Next::Wait => {}
            Next::Say(bytes) => say(stream.as_fd(), &bytes, None)?,
            Next::Refuse(_, Refusal::WrongType) => return Err(wrong_type::<S, R>(address)),
            Next::Refuse(_, Refusal::Unauthorised) => return Err(ConnectError::Unauthorised),
            Next::Refuse(_, Refusal::Malformed | Refusal::NoCommonVersion { .. }) => {
                return Err(ConnectError::Malformed);
            }
            Next::Agree(_) => {
                let endpoint = descriptor.and_then(|descriptor| Endpoint::of(descriptor).ok());
                return endpoint.map(Connection::over).ok_or(ConnectError::Malformed);
            }
        }
    }
}

#[cold]
fn wrong_type<S, R>(address: &Address) -> ConnectError {
    let (sends, receives) = (Type::of::<S>().to_string(), Type::of::<R>().to_string());
    // The name is valid: the stream was opened under it.
    let name = address.checked_name().unwrap_or_default().to_owned();
    ConnectError::WrongType { name, sends, receives }
}

/// Opens the stream. The kernel refuses while the listener's queue is full, and offers no way to wait for room.
fn reach(address: &Address, deadline: Deadline) -> Result<Stream, ConnectError> {
    let name = name_of(address).ok_or(ConnectError::BadName)?;
    let options =
        ConnectOptions::new().name(name).wait_mode(ConnectWaitMode::Deferred).nonblocking_stream(true);
    loop {
        let opened = match options.connect_sync_as::<Stream>() {
            // If the queue is full, interprocess 2.4 returns a stream without a connection.
            Ok(stream) if getpeername(stream.as_fd()).err() == Some(Errno::NOTCONN) => {
                Err(ErrorKind::WouldBlock.into())
            }
            outcome => outcome,
        };
        match opened {
            Ok(stream) => return Ok(above_standard(stream.into()).map_err(OsError::from)?.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if deadline.has_passed() {
                    return Err(ConnectError::TimedOut);
                }
                std::thread::sleep(TRY_AGAIN_AFTER.min(deadline.remaining()));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

//! Connections: both ends send and receive.

use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use mp_sys::alike::{SameBytes, Wire};
use mp_sys::robust::Patience;
use mp_sys::socket::Endpoint;
use mp_sys::travel;
use serde::de::DeserializeOwned;

use crate::error::{NoPipe, OsError, RecvError, SendError};
use crate::forward::{self, Message};
#[cfg(feature = "tokio")]
use crate::halves::asynchronous::{receives_in_tasks, sends_in_tasks};
use crate::halves::{FOR_EVER, is_an_end, receives, sends, unpack_end, within};
use crate::message::{self, Type};

/// Makes two connected ends; each receives what the other sends.
///
/// # Errors
/// Those of [`pipe`](crate::pipe()).
///
/// # Fork safety
/// A forked child has both ends. While it keeps a copy of one end, the other end does not see the end of the stream.
///
/// # Source
/// Python's `multiprocessing.Pipe()`.
///
/// # Examples
/// ```
/// # extern crate kernel_ipc as mp;
/// let (asks, answers) = mp::duplex::<String, usize>()?;
/// asks.send("how long?")?;
/// answers.send(&answers.recv()?.len())?;
/// assert_eq!(asks.recv()?, 9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "socketpair")]
#[doc(alias = "Pipe")]
#[expect(clippy::type_complexity, reason = "a caller has to see both ends and what each of them sends")]
pub fn duplex<S: DeserializeOwned, R: DeserializeOwned>()
-> Result<(Connection<S, R>, Connection<R, S>), OsError> {
    let (one, other) = Endpoint::pair()?;
    Ok((Connection::made(one), Connection::made(other)))
}

/// One end of a connection: sends values of type `S` and receives values of type `R`.
///
/// It combines a [`Sender`](crate::Sender) and a [`Receiver`](crate::Receiver), and makes the promises of both.
///
/// # Fork safety
/// A forked child has the same end.
///
/// # Crash
/// A message is sent whole or not at all. A process that is killed while it receives loses at most the one message that
/// it was taking.
///
/// # Source
/// Python's `multiprocessing.connection.Connection`; unix(7) `SOCK_SEQPACKET`.
pub struct Connection<S, R> {
    endpoint: Endpoint,
    sends: Type,
    receives: Type,
    values: PhantomData<fn(S) -> R>,
}

sends!(Connection<S, R>, S, sends);
receives!(Connection<S, R>, R, receives);
#[cfg(feature = "tokio")]
sends_in_tasks!(Connection<S, R>, S, sends);
#[cfg(feature = "tokio")]
receives_in_tasks!(Connection<S, R>, R, receives);
is_an_end!(Connection<S, R>, "connection", [sends = S, receives = R], sends [sends = S]);

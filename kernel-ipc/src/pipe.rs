//! Pipes: one end sends, the other receives.
//!
//! A message is a value encoded by `serde`, or plain bytes. It arrives whole or not at all, even if the sender or the
//! receiver is killed. Many threads and processes may share either end, and messages never mix: each message goes to one
//! of the receivers.
//!
//! Both ends can be cloned, inherited by forked children, and sent inside messages. The same holds for the shared objects
//! of `shm-core` and for [`Descriptor`](crate::Descriptor)s. If both ends have to send and receive, use
//! [`duplex`](crate::duplex).
//!
//! # The end of the stream
//! Once every handle of the sending end is closed, in every process, receivers get the remaining messages and then
//! [`RecvError::Closed`]. Once every handle of the receiving end is closed, senders get [`SendError::Closed`]. The kernel
//! enforces both, so they also hold for processes that were killed.
//!
//! A plain `fork` copies all handles. A child that does not use an end should drop it, or be started by `fork_with`, which
//! leaves the child only what it was handed.

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

/// Makes a pipe and returns its sending and its receiving end.
///
/// # Errors
/// `EMFILE` or `ENFILE` if there is no free descriptor; `ENOMEM`.
///
/// # Fork safety
/// A forked child has both ends; see [the end of the stream](self#the-end-of-the-stream).
///
/// # Source
/// Python's `multiprocessing.Pipe(duplex=False)`, which returns the receiving end first.
///
/// # Examples
/// ```
/// # extern crate kernel_ipc as mp;
/// let (tx, rx) = mp::pipe::<(u32, String)>()?;
/// tx.send(&(7, "seven".to_owned()))?;
/// tx.close();
/// assert_eq!(rx.recv()?, (7, "seven".to_owned()));
/// assert_eq!(rx.recv(), Err(mp::RecvError::Closed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "mpsc")]
#[doc(alias = "channel")]
#[doc(alias = "Pipe")]
pub fn pipe<T: DeserializeOwned>() -> Result<(Sender<T>, Receiver<T>), OsError> {
    let (one, other) = Endpoint::pair()?;
    Ok((Sender::made(one), Receiver::made(other)))
}

/// The sending end of a pipe.
///
/// | property | |
/// |---|---|
/// | capacity | set by the kernel: about 200 KB, or 278 small messages; long messages use none of it |
/// | order | messages of one sender arrive in the order in which it sent them |
/// | drop | closes this handle; receivers see the end of the stream when the last handle is closed |
///
/// # Fork safety
/// A forked child has the same end.
///
/// # Crash
/// A process that is killed while it sends has sent either the whole message or nothing.
///
/// # Source
/// Python's `multiprocessing.connection.Connection`; unix(7) `SOCK_SEQPACKET`.
#[doc(alias = "Connection")]
pub struct Sender<T> {
    endpoint: Endpoint,
    print: Type,
    values: PhantomData<fn(T)>,
}

sends!(Sender<T>, T, print);
#[cfg(feature = "tokio")]
sends_in_tasks!(Sender<T>, T, print);
is_an_end!(Sender<T>, "sender", [print = T], sends[print = T]);

/// The receiving end of a pipe.
///
/// | property | |
/// |---|---|
/// | several receivers | each message goes to one of them |
/// | drop | closes this handle; when the last one is closed, unread messages are lost and senders get an error |
///
/// # Fork safety
/// A forked child has the same end.
///
/// # Crash
/// A process that is killed while it receives loses at most the one message that it was taking.
///
/// # Source
/// Python's `multiprocessing.connection.Connection`; unix(7) `SOCK_SEQPACKET`.
///
/// # Examples
/// ```
/// # extern crate kernel_ipc as mp;
/// let (tx, rx) = mp::pipe::<u32>()?;
/// for n in 0..3 {
///     tx.send(&n)?;
/// }
/// drop(tx);
/// let received: Result<Vec<u32>, _> = rx.iter().collect();
/// assert_eq!(received?, [0, 1, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "Connection")]
pub struct Receiver<T> {
    endpoint: Endpoint,
    print: Type,
    values: PhantomData<fn() -> T>,
}

receives!(Receiver<T>, T, print);
#[cfg(feature = "tokio")]
receives_in_tasks!(Receiver<T>, T, print);
is_an_end!(Receiver<T>, "receiver", [print = T], sends []);

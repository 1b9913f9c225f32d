//! Pipes: one end sends, the other receives.
//!
//! A message is a value, encoded by `serde`, or plain bytes. It arrives whole or not at all, whoever is killed, and many
//! threads and processes may have either end without ever mixing messages: each message goes to one of the receivers.
//! Both ends can be cloned, inherited by forked children, and sent inside messages; so can the shared objects of
//! `shm-core`, and [`Descriptor`](crate::Descriptor)s. For two ends that both send and receive see
//! [`duplex`](crate::duplex).
//!
//! # The end of the stream
//! When every handle of the sending end is closed, in every process, receivers get what is left and then
//! [`RecvError::Closed`]; when every handle of the receiving end is closed, senders get [`SendError::Closed`]. The kernel
//! sees to it, so it also holds for processes that were killed. A plain `fork` copies all handles: a child that does not
//! use an end should drop it, or be started by `fork_with`, which leaves it only what it was handed.

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
use crate::halves::{FOR_EVER, is_an_end, receives, sends, unpack_end, within};
use crate::message::{self, Type};

/// Makes a pipe: what the first end sends, the second receives.
///
/// # Errors
/// `EMFILE` or `ENFILE`: there is no free descriptor; `ENOMEM`.
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

/// The end of a pipe that sends.
///
/// | property | |
/// |---|---|
/// | capacity | as the kernel has it: about 200 KB, or 278 small messages; long messages take none of it |
/// | order | messages of one sender arrive in the order in which it sent them |
/// | drop | closes this handle; the receivers are told when the last one is closed |
///
/// # Fork safety
/// A forked child has the same end.
///
/// # Crash
/// A process that is killed while it sends has sent the whole message, or nothing.
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
is_an_end!(Sender<T>, "sender", [print = T], sends[print = T]);

/// The end of a pipe that receives.
///
/// | property | |
/// |---|---|
/// | several receivers | each message goes to one of them |
/// | drop | closes this handle; what nobody received is lost when the last one is closed, and senders are told |
///
/// # Fork safety
/// A forked child has the same end.
///
/// # Crash
/// A process that is killed while it receives takes at most the one message in its hand with it.
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
is_an_end!(Receiver<T>, "receiver", [print = T], sends []);

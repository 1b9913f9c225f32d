//! Forwarding of messages as they are.
//!
//! A message is kept as its packet: the form, the bytes, and all descriptors in their order, since the bytes refer to them
//! by number. A long message stays in its sealed file, which is forwarded and never copied. All processes that receive the
//! file share one file offset, so they read it by position.

#[cfg(feature = "tokio")]
pub(crate) mod asynchronous;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use mp_sys::line::Count;
use mp_sys::payload::{self, Payload};
use mp_sys::robust::Patience;
use mp_sys::socket::{Endpoint, OVERHEAD_BYTES, hold};
use serde::de::DeserializeOwned;

use crate::error::{RecvError, SendError};
use crate::limits::MESSAGE_BYTES_MAX;
use crate::message::{self, Bytes, Form, Type};

/// A message of any type, as it was received. It can be forwarded, or decoded by a process that knows the type.
///
/// A broker or router does not need to know the types of the messages that it forwards. The message keeps its type, its
/// bytes and all handles inside: descriptors, ends of pipes, queues and shared objects. It can be forwarded any number of
/// times.
///
/// | property | |
/// |---|---|
/// | received by | `recv_message` of a [`Receiver`](crate::Receiver) or [`Connection`](crate::Connection) of any type |
/// | sent by | `forward` of a [`Sender`](crate::Sender) or [`Connection`](crate::Connection) of any type |
/// | a clone | the same message: the descriptors are shared, the bytes of a short one are copied |
/// | drop | closes the handles inside; until then, streams whose ends are inside stay open |
///
/// A manager's proxy inside keeps its object alive for 30 s after it was first sent. Forwarding does not extend this time.
///
/// # Fork safety
/// A forked child has a copy; a child of `fork_with` does not have the ends of pipes inside.
///
/// # Source
/// Python has no counterpart: its `Connection` unpickles, or forwards bytes without the descriptors of `DupFd`.
///
/// # Examples
/// ```
/// # extern crate kernel_ipc as mp;
/// use mp::{Receiver, Sender, pipe};
///
/// /// Does not know the types inside the messages.
/// fn route<T>(from: &Receiver<T>, to: &[&Sender<T>]) -> Result<(), Box<dyn std::error::Error>> {
///     let message = from.recv_message()?;
///     for receiver in to {
///         receiver.forward(&message)?;
///     }
///     Ok(())
/// }
///
/// let (client, from_client) = pipe::<(String, Sender<u32>)>()?;
/// let (to_server, server) = pipe()?;
/// let (answer, answers) = pipe()?;
/// client.send(&("how long?".to_owned(), answer))?;
/// route(&from_client, &[&to_server])?;
/// let (question, answer) = server.recv()?;
/// answer.send(&9)?;
/// assert_eq!((question.as_str(), answers.recv()?), ("how long?", 9));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Message {
    form: Form,
    /// Empty if the bytes are in a file. The file is then the last descriptor.
    body: Vec<u8>,
    descriptors: Vec<Arc<OwnedFd>>,
    len: usize,
}

impl Message {
    /// Returns the number of bytes of the encoded value, or of the plain bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the message has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns whether the message was sent as plain bytes, by `send_bytes`.
    #[must_use]
    pub fn is_bytes(&self) -> bool {
        self.form.print == 0
    }

    /// Returns whether the message was sent as a value of type `T`. Types are compared by size, alignment and name, as for
    /// the ends of a pipe.
    #[must_use]
    pub fn is<T>(&self) -> bool {
        self.form.print == message::print_of::<T>()
    }

    /// Decodes the value, if it is of type `T`. The message itself stays, and can still be forwarded.
    ///
    /// # Errors
    /// [`RecvError::WrongType`], [`RecvError::Decode`]; [`RecvError::OutOfDescriptors`] if this process has no free
    /// descriptors for those inside; [`RecvError::Memory`].
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, RecvError> {
        let mut descriptors = self.copies()?;
        let bytes = self.read(&mut descriptors)?;
        if !self.is::<T>() {
            return Err(message::wrong_type(Type::of::<T>().to_string(), self.form, bytes));
        }
        message::decode(bytes, descriptors)
    }

    /// Returns the plain bytes, or the bytes of the encoded value.
    ///
    /// # Errors
    /// [`RecvError::OutOfDescriptors`] and [`RecvError::Memory`], only if the message is too long for one packet.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RecvError> {
        let file = if self.form.in_file { self.descriptors.last() } else { None };
        let mut copies = file.map(copy).transpose()?.into_iter().collect();
        Ok(self.read(&mut copies)?.into_vec())
    }

    /// Returns the bytes. If they are in a file, removes the file from the end of `descriptors` and reads it.
    fn read(&self, descriptors: &mut Vec<OwnedFd>) -> Result<Bytes<'_>, RecvError> {
        if !self.form.in_file {
            return Ok(Bytes::Borrowed(&self.body));
        }
        let file = descriptors.pop().ok_or(message::NO_FILE)?;
        let read = Payload::open(file, MESSAGE_BYTES_MAX).and_then(Payload::read);
        read.map(Bytes::Own).map_err(message::not_read)
    }

    fn copies(&self) -> Result<Vec<OwnedFd>, RecvError> {
        self.descriptors.iter().map(copy).collect()
    }
}

impl std::fmt::Debug for Message {
    /// Shows the number of bytes and descriptors, but not the bytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({}, {})", Count(self.len, "byte"), Count(self.descriptors.len(), "descriptor"))
    }
}

fn copy(file: &Arc<OwnedFd>) -> Result<OwnedFd, RecvError> {
    file.try_clone().map_err(|_| RecvError::OutOfDescriptors)
}

/// Receives a message of any type.
pub(crate) fn recv(endpoint: &Endpoint, patience: Patience) -> Result<Message, RecvError> {
    message::recv_packet(endpoint, patience, |form, body, descriptors| {
        let mut len = body.len();
        if form.in_file {
            let file = descriptors.last().filter(|_| body.is_empty()).ok_or(message::NO_FILE)?;
            let found = payload::check(file.as_fd(), MESSAGE_BYTES_MAX).map_err(message::not_read)?;
            len = usize::try_from(found).unwrap_or(usize::MAX);
        }
        let descriptors = descriptors.into_iter().map(hold).collect();
        Ok(Message { form, body: body.to_vec(), descriptors, len })
    })
}

/// Sends a message as it was received.
pub(crate) fn send(endpoint: &Endpoint, message: &Message, patience: Patience) -> Result<(), SendError> {
    let descriptors: Vec<BorrowedFd<'_>> = message.descriptors.iter().map(|file| file.as_fd()).collect();
    let (head, mut packet) = (message.form.to_head(), [0; OVERHEAD_BYTES]);
    let sent = endpoint.send(head, &mut packet, &message.body, &descriptors, patience);
    // A message that arrived as one packet fits into one packet: all ends of pipes use the same kind of socket.
    sent.map_err(|failure| message::not_sent(failure, patience))
}

//! Messages that are passed on as they are.
//!
//! A message is kept as its packet: the form, the bytes, and all descriptors in their order, since the bytes name them by
//! number. A long one stays in its sealed file, which is passed on and never copied. All who get that file read it by
//! position: they share one offset.

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

/// A message as it arrived, whatever its type: to be forwarded, or looked at by a process that knows the type.
///
/// A broker or a router need not know what it passes on. The message keeps its type, its bytes and everything that travels
/// inside: descriptors, ends of pipes, queues and shared objects. It can be forwarded any number of times.
///
/// | property | |
/// |---|---|
/// | received by | `recv_message` of a [`Receiver`](crate::Receiver) or [`Connection`](crate::Connection) of any type |
/// | sent by | `forward` of a [`Sender`](crate::Sender) or [`Connection`](crate::Connection) of any type |
/// | a clone | the same message: the descriptors are shared, the bytes of a short one are copied |
/// | drop | closes what travels inside; while it lives, it keeps streams open whose ends are inside |
///
/// A proxy of a manager inside keeps its object for 30 s after the first process sent it, not after each forward.
///
/// # Fork safety
/// A forked child has a copy; a child of `fork_with` does not have the ends of pipes inside.
///
/// # Source
/// Python has none: a `Connection` there unpickles, or passes bytes on without what `DupFd` left behind.
///
/// # Examples
/// ```
/// # extern crate kernel_ipc as mp;
/// use mp::{Receiver, Sender, pipe};
///
/// /// Knows nothing of what it passes on.
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
    /// Empty if the bytes are in a file, which is the last descriptor then.
    body: Vec<u8>,
    descriptors: Vec<Arc<OwnedFd>>,
    len: usize,
}

impl Message {
    /// Bytes of the encoded value, or plain bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it was sent as plain bytes, by `send_bytes`.
    #[must_use]
    pub fn is_bytes(&self) -> bool {
        self.form.print == 0
    }

    /// Whether it was sent as a value of type `T`. As for the ends of a pipe, types are compared by size, alignment and name.
    #[must_use]
    pub fn is<T>(&self) -> bool {
        self.form.print == message::print_of::<T>()
    }

    /// The value, if it is of type `T`. The message stays, and can still be forwarded.
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

    /// The plain bytes, or those of the encoded value.
    ///
    /// # Errors
    /// [`RecvError::OutOfDescriptors`], [`RecvError::Memory`], for a message that is too long for one packet.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RecvError> {
        let file = if self.form.in_file { self.descriptors.last() } else { None };
        let mut copies = file.map(copy).transpose()?.into_iter().collect();
        Ok(self.read(&mut copies)?.into_vec())
    }

    /// Takes the file with the bytes from the end of `descriptors`, if there is one, and reads it.
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
    /// How much it carries, and not the bytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({}, {})", Count(self.len, "byte"), Count(self.descriptors.len(), "descriptor"))
    }
}

fn copy(file: &Arc<OwnedFd>) -> Result<OwnedFd, RecvError> {
    file.try_clone().map_err(|_| RecvError::OutOfDescriptors)
}

/// Receives a message of whatever type.
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

/// Sends a message as it arrived.
pub(crate) fn send(endpoint: &Endpoint, message: &Message, patience: Patience) -> Result<(), SendError> {
    let descriptors: Vec<BorrowedFd<'_>> = message.descriptors.iter().map(|file| file.as_fd()).collect();
    let (head, mut packet) = (message.form.to_head(), [0; OVERHEAD_BYTES]);
    let sent = endpoint.send(head, &mut packet, &message.body, &descriptors, patience);
    // What came as one packet goes as one: ends of a pipe have sockets of one kind.
    sent.map_err(|failure| message::not_sent(failure, patience))
}

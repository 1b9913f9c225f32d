//! Sending and receiving in tasks of a tokio runtime.
//!
//! A message is encoded once, when the method is called, and not at each attempt. So the futures do not borrow the value, and a
//! long message is written into its file once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use mp_sys::asynchronous::Attempt;
use mp_sys::payload;
use mp_sys::robust::Patience;
use mp_sys::socket::{Endpoint, OVERHEAD_BYTES, SendFailure};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Form, Type, encode, keep, not_sent, outgoing};
use crate::error::{RecvError, SendError};
use crate::limits::{DESCRIPTORS_MAX, INLINE_BYTES_MAX, MESSAGE_BYTES_MAX};

/// A message that is ready to be sent.
struct Ready<'a> {
    form: Form,
    /// The space for the head, and the body or its beginning.
    packet: Vec<u8>,
    rest: &'a [u8],
    luggage: Vec<Arc<OwnedFd>>,
}

impl<'a> Ready<'a> {
    fn of(
        print: u64,
        packet: Vec<u8>,
        rest: &'a [u8],
        luggage: Vec<Arc<OwnedFd>>,
    ) -> Result<Self, SendError> {
        let length = packet.len().saturating_sub(OVERHEAD_BYTES).saturating_add(rest.len());
        let mut ready = Self { form: Form { in_file: false, print }, packet, rest, luggage };
        if length > INLINE_BYTES_MAX {
            ready.move_into_file()?;
        }
        Ok(ready)
    }

    /// Moves the bytes into a sealed file, which travels as the last descriptor.
    fn move_into_file(&mut self) -> Result<(), SendError> {
        if self.luggage.len() >= DESCRIPTORS_MAX {
            return Err(SendError::TooManyDescriptors);
        }
        let file = payload::seal(&[self.packet.get(OVERHEAD_BYTES..).unwrap_or_default(), self.rest])?;
        self.luggage.push(Arc::new(file));
        self.form.in_file = true;
        self.packet.truncate(OVERHEAD_BYTES);
        self.rest = &[];
        Ok(())
    }

    fn try_send(&mut self, endpoint: &Endpoint) -> Result<(), SendFailure> {
        let descriptors: Vec<BorrowedFd<'_>> = self.luggage.iter().map(|file| file.as_fd()).collect();
        endpoint.send(self.form.to_head(), &mut self.packet, self.rest, &descriptors, Patience::None)
    }

    fn attempt(&mut self, endpoint: &Endpoint) -> Result<(), SendError> {
        let mut outcome = self.try_send(endpoint);
        // This machine's sockets accept only shorter packets than usual.
        if outcome == Err(SendFailure::TooLong) && !self.form.in_file {
            self.move_into_file()?;
            outcome = self.try_send(endpoint);
        }
        outcome.map_err(|failure| not_sent(failure, Patience::None))
    }
}

/// Sends a value of this type.
pub(crate) fn send_value<'e, T: Serialize + ?Sized>(
    endpoint: &'e Endpoint,
    sent: Type,
    value: &T,
) -> impl Future<Output = Result<(), SendError>> + Send + use<'e, T> {
    let mut packet = outgoing();
    let ready = encode(sent, value, &mut packet)
        .and_then(|luggage| Ready::of(sent.print, packet, &[], luggage.descriptors));
    send(endpoint, ready)
}

/// Sends plain bytes.
pub(crate) fn send_bytes<'e>(
    endpoint: &'e Endpoint,
    bytes: &'e [u8],
) -> impl Future<Output = Result<(), SendError>> + Send + use<'e> {
    let ready = if bytes.len() > MESSAGE_BYTES_MAX {
        Err(SendError::TooLarge { found: bytes.len() })
    } else {
        Ready::of(0, outgoing(), bytes, Vec::new())
    };
    send(endpoint, ready)
}

async fn send(endpoint: &Endpoint, ready: Result<Ready<'_>, SendError>) -> Result<(), SendError> {
    let mut ready = ready?;
    let outcome = send_by(endpoint, || ready.attempt(endpoint)).await;
    keep(ready.packet);
    outcome
}

/// Tries `attempt` until the pipe has room.
pub(crate) async fn send_by(
    endpoint: &Endpoint,
    mut attempt: impl FnMut() -> Result<(), SendError>,
) -> Result<(), SendError> {
    let attempt = || match attempt() {
        Err(SendError::Full) => Attempt::Later,
        outcome => Attempt::Done(outcome),
    };
    endpoint.attempt_to_send(attempt).await?
}

/// Tries `attempt` until there is something to receive.
pub(crate) async fn recv_by<R>(
    endpoint: &Endpoint,
    mut attempt: impl FnMut() -> Result<R, RecvError>,
) -> Result<R, RecvError> {
    let attempt = || match attempt() {
        Err(RecvError::Empty) => Attempt::Later,
        outcome => Attempt::Done(outcome),
    };
    endpoint.attempt_to_receive(attempt).await?
}

/// Receives a value of this type.
pub(crate) async fn recv_value<T: DeserializeOwned>(
    endpoint: &Endpoint,
    wanted: Type,
) -> Result<T, RecvError> {
    recv_by(endpoint, || super::recv_value(endpoint, wanted, Patience::None)).await
}

/// Receives plain bytes.
pub(crate) async fn recv_bytes(endpoint: &Endpoint) -> Result<Vec<u8>, RecvError> {
    recv_by(endpoint, || super::recv_bytes(endpoint, Patience::None)).await
}

//! Forwarding in tasks of a tokio runtime.

use mp_sys::robust::Patience;
use mp_sys::socket::Endpoint;

use super::Message;
use crate::error::{RecvError, SendError};
use crate::message::asynchronous::{recv_by, send_by};

/// Sends a message as it was received.
pub(crate) async fn send(endpoint: &Endpoint, message: &Message) -> Result<(), SendError> {
    send_by(endpoint, || super::send(endpoint, message, Patience::None)).await
}

/// Receives a message of any type.
pub(crate) async fn recv(endpoint: &Endpoint) -> Result<Message, RecvError> {
    recv_by(endpoint, || super::recv(endpoint, Patience::None)).await
}

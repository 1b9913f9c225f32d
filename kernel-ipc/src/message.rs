//! Encoding values into packets, and decoding them.
//!
//! | bytes of the head | content |
//! |---|---|
//! | 0 | the form: a value or plain bytes, in the packet or in a sealed file |
//! | 1-3 | zero |
//! | 4-11 | the fingerprint of the value's type; zero for bytes |
//!
//! If a message is in a file, its last descriptor is that file. The others belong to handles inside the value.
//!
//! Each thread keeps its buffers. A fresh buffer is allocated in two cases: if a value itself sends or receives while it is
//! being encoded or decoded, since the thread's buffer is then in use, and if the thread is ending and its buffers are
//! already dropped.

#[cfg(feature = "tokio")]
pub(crate) mod asynchronous;
mod limited;
mod types;

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use mp_sys::payload::{self, Payload, PayloadError};
use mp_sys::robust::Patience;
use mp_sys::socket::{Endpoint, Head, OVERHEAD_BYTES, ReceiveFailure, SendFailure};
use mp_sys::travel::{self, Luggage, TravelError};
use mp_sys::wire;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::limited::Limited;
pub(crate) use self::types::{Type, print_of};
use crate::error::{RecvError, SendError};
use crate::limits::{DESCRIPTORS_MAX, INLINE_BYTES_MAX, MESSAGE_BYTES_MAX};

/// Bytes of the largest buffer that is kept for the next message.
const KEPT_BYTES_MAX: usize = INLINE_BYTES_MAX + OVERHEAD_BYTES;
/// Up to this number of plain bytes are copied after their head: the simpler system call saves more than the copy costs.
const COPIED_BYTES_MAX: usize = 240;

thread_local! {
    static OUTGOING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static INCOMING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The form of a message: where its bytes are, and whether they are a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) in_file: bool,
    /// The fingerprint of the value's type; 0 for plain bytes.
    pub(crate) print: u64,
}

impl Form {
    const IN_FILE: u32 = 1;
    const IS_VALUE: u32 = 2;

    #[inline]
    pub(crate) fn to_head(self) -> Head {
        let in_file = if self.in_file { Self::IN_FILE } else { 0 };
        let is_value = if self.print == 0 { 0 } else { Self::IS_VALUE };
        Head { word: in_file | is_value, long: self.print }
    }

    #[inline]
    fn from_head(head: Head) -> Option<Self> {
        let form = Self { in_file: head.word & Self::IN_FILE != 0, print: head.long };
        (form.to_head() == head).then_some(form)
    }
}

/// Sends a value of this type.
#[inline]
pub(crate) fn send_value<T: Serialize + ?Sized>(
    endpoint: &Endpoint,
    sent: Type,
    value: &T,
    patience: Patience,
) -> Result<(), SendError> {
    let mut packet = outgoing();
    let encoded = encode(sent, value, &mut packet);
    let outcome = encoded
        .and_then(|luggage| send(endpoint, sent.print, (&mut packet, &[]), &luggage.descriptors, patience));
    keep(packet);
    outcome
}

/// Encodes a value of this type after the space for a packet's head, and returns what it carries.
#[inline]
fn encode<T: Serialize + ?Sized>(sent: Type, value: &T, packet: &mut Vec<u8>) -> Result<Luggage, SendError> {
    let limited = Limited { packet: std::mem::take(packet), beyond: 0 };
    let (encoded, luggage) =
        travel::encode(DESCRIPTORS_MAX, || postcard::serialize_with_flavor(value, limited));
    let encoded = match (encoded, &luggage.refused) {
        (Ok(encoded), _) => encoded,
        (Err(_), Some(TravelError::TooMany)) => return Err(SendError::TooManyDescriptors),
        (Err(_), Some(refused)) => return Err(SendError::Encode(refused.to_string())),
        (Err(error), None) => return Err(SendError::Encode(wire::unencodable(value, &error))),
    };
    *packet = encoded.packet;
    let body = packet.get(OVERHEAD_BYTES..).unwrap_or_default();
    if encoded.beyond > 0 {
        return Err(SendError::TooLarge { found: body.len().saturating_add(encoded.beyond) });
    }
    wire::check(value, body, sent.decodes).map_err(SendError::Encode)?;
    Ok(luggage)
}

/// Sends plain bytes.
#[inline]
pub(crate) fn send_bytes(endpoint: &Endpoint, bytes: &[u8], patience: Patience) -> Result<(), SendError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(SendError::TooLarge { found: bytes.len() });
    }
    let mut packet = [0; OVERHEAD_BYTES + COPIED_BYTES_MAX];
    let Some(packet) = packet.get_mut(..OVERHEAD_BYTES.saturating_add(bytes.len())) else {
        return send(endpoint, 0, (&mut [0; OVERHEAD_BYTES], bytes), &[], patience);
    };
    if let Some(body) = packet.get_mut(OVERHEAD_BYTES..) {
        body.copy_from_slice(bytes);
    }
    send(endpoint, 0, (packet, &[]), &[], patience)
}

/// Returns the thread's buffer, with space for a packet's head.
fn outgoing() -> Vec<u8> {
    let mut packet = OUTGOING.try_with(Cell::take).unwrap_or_default();
    packet.clear();
    packet.extend_from_slice(&[0; OVERHEAD_BYTES]);
    packet
}

/// Sends the bytes after the space for the head, and then `rest`.
#[inline]
fn send(
    endpoint: &Endpoint,
    print: u64,
    (packet, rest): (&mut [u8], &[u8]),
    luggage: &[Arc<OwnedFd>],
    patience: Patience,
) -> Result<(), SendError> {
    let mut descriptors: Vec<BorrowedFd<'_>> = luggage.iter().map(|file| file.as_fd()).collect();
    let length = packet.len().saturating_sub(OVERHEAD_BYTES).saturating_add(rest.len());
    if length <= INLINE_BYTES_MAX {
        let head = Form { in_file: false, print }.to_head();
        match endpoint.send(head, packet, rest, &descriptors, patience) {
            // This machine's sockets accept only shorter packets than usual.
            Err(SendFailure::TooLong) => {}
            outcome => return outcome.map_err(|failure| not_sent(failure, patience)),
        }
    }
    if descriptors.len() >= DESCRIPTORS_MAX {
        return Err(SendError::TooManyDescriptors);
    }
    let file = payload::seal(&[packet.get(OVERHEAD_BYTES..).unwrap_or_default(), rest])?;
    descriptors.push(file.as_fd());
    let head = Form { in_file: true, print }.to_head();
    let outcome = endpoint.send(head, &mut [0; OVERHEAD_BYTES], &[], &descriptors, patience);
    outcome.map_err(|failure| not_sent(failure, patience))
}

pub(crate) fn not_sent(failure: SendFailure, patience: Patience) -> SendError {
    match failure {
        SendFailure::Closed => SendError::Closed,
        SendFailure::Full if patience == Patience::None => SendError::Full,
        SendFailure::Full => SendError::TimedOut,
        SendFailure::TooManyDescriptors => SendError::TooManyDescriptors,
        SendFailure::DescriptorsInFlight => SendError::DescriptorsInFlight,
        SendFailure::System(error) => SendError::System(error),
        // A packet without a body is never too long, so this cannot happen.
        _ => SendError::System(std::io::Error::other("a short packet is too long").into()),
    }
}

/// Receives a value of this type.
pub(crate) fn recv_value<T: DeserializeOwned>(
    endpoint: &Endpoint,
    wanted: Type,
    patience: Patience,
) -> Result<T, RecvError> {
    recv(endpoint, patience, |form, bytes, descriptors| {
        if form.print != wanted.print {
            return Err(wrong_type(wanted.to_string(), form, bytes));
        }
        decode(bytes, descriptors)
    })
}

/// Decodes a value and the handles in it.
pub(crate) fn decode<T: DeserializeOwned>(
    bytes: Bytes<'_>,
    descriptors: Vec<OwnedFd>,
) -> Result<T, RecvError> {
    let (decoded, refused) = travel::decode(descriptors, || postcard::take_from_bytes(bytes.as_slice()));
    let reason = match (decoded, refused) {
        (Ok((value, [])), _) => return Ok(value),
        (Ok(_), _) => "bytes are left over after the value".to_owned(),
        (Err(_), Some(refused)) => refused.to_string(),
        (Err(error), None) => wire::undecodable::<T>(bytes.as_slice(), &error),
    };
    Err(RecvError::Decode { reason, bytes: bytes.into_vec() })
}

const PLAIN_BYTES: &str = "plain bytes";

#[cold]
pub(crate) fn wrong_type(expected: String, found: Form, bytes: Bytes<'_>) -> RecvError {
    let found = match found.print {
        0 => PLAIN_BYTES.to_owned(),
        print => format!("a type of fingerprint {print:016x}"),
    };
    RecvError::WrongType { expected, found, bytes: bytes.into_vec() }
}

/// Receives plain bytes.
#[inline]
pub(crate) fn recv_bytes(endpoint: &Endpoint, patience: Patience) -> Result<Vec<u8>, RecvError> {
    recv(endpoint, patience, |form, bytes, _| {
        let bytes = bytes.into_vec();
        if form.print == 0 {
            Ok(bytes)
        } else {
            Err(wrong_type(PLAIN_BYTES.to_owned(), form, Bytes::Own(bytes)))
        }
    })
}

/// Receives plain bytes into `into`, and returns their number.
#[inline]
pub(crate) fn recv_bytes_into(
    endpoint: &Endpoint,
    into: &mut [u8],
    patience: Patience,
) -> Result<usize, RecvError> {
    recv(endpoint, patience, |form, bytes, _| {
        if form.print != 0 {
            return Err(wrong_type(PLAIN_BYTES.to_owned(), form, bytes));
        }
        let found = bytes.as_slice();
        let Some(into) = into.get_mut(..found.len()) else {
            return Err(RecvError::BufferTooShort { bytes: bytes.into_vec() });
        };
        into.copy_from_slice(found);
        Ok(found.len())
    })
}

/// The bytes of a received message: in the thread's buffer, or in a vector.
pub(crate) enum Bytes<'a> {
    Borrowed(&'a [u8]),
    Own(Vec<u8>),
}

impl Bytes<'_> {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }

    pub(crate) fn into_vec(self) -> Vec<u8> {
        match self {
            Self::Borrowed(bytes) => bytes.to_vec(),
            Self::Own(bytes) => bytes,
        }
    }
}

/// Receives a message and passes its bytes to `finish`.
#[inline]
fn recv<R>(
    endpoint: &Endpoint,
    patience: Patience,
    finish: impl FnOnce(Form, Bytes<'_>, Vec<OwnedFd>) -> Result<R, RecvError>,
) -> Result<R, RecvError> {
    recv_packet(endpoint, patience, |form, body, mut descriptors| {
        if !form.in_file {
            return finish(form, Bytes::Borrowed(body), descriptors);
        }
        let file = descriptors.pop().filter(|_| body.is_empty()).ok_or(NO_FILE)?;
        let bytes = Payload::open(file, MESSAGE_BYTES_MAX).and_then(Payload::read).map_err(not_read)?;
        finish(form, Bytes::Own(bytes), descriptors)
    })
}

/// The error for a malformed message in a file.
pub(crate) const NO_FILE: RecvError =
    RecvError::Malformed("it has no file, or a body in addition to its file");

/// Receives a message and passes its packet to `finish`: the bytes in the packet, and all descriptors.
#[inline]
pub(crate) fn recv_packet<R>(
    endpoint: &Endpoint,
    patience: Patience,
    finish: impl FnOnce(Form, &[u8], Vec<OwnedFd>) -> Result<R, RecvError>,
) -> Result<R, RecvError> {
    let mut buffer = INCOMING.try_with(Cell::take).unwrap_or_default();
    if buffer.is_empty() {
        // The kernel provides zeroed pages lazily: only pages that are used take memory.
        buffer = vec![0; KEPT_BYTES_MAX];
    }
    let outcome = recv_with(&mut buffer, endpoint, patience, finish);
    let _kept = INCOMING.try_with(|kept| kept.set(buffer));
    outcome
}

#[inline]
fn recv_with<R>(
    buffer: &mut [u8],
    endpoint: &Endpoint,
    patience: Patience,
    finish: impl FnOnce(Form, &[u8], Vec<OwnedFd>) -> Result<R, RecvError>,
) -> Result<R, RecvError> {
    let received = endpoint.receive(buffer, patience).map_err(|failure| not_received(failure, patience))?;
    let form = Form::from_head(received.head).ok_or(RecvError::Malformed("its form is unknown"))?;
    let body = buffer.get(OVERHEAD_BYTES..).and_then(|buffer| buffer.get(..received.body_len));
    let body = body.ok_or(RecvError::Malformed("it is too long"))?;
    finish(form, body, received.descriptors)
}

fn not_received(failure: ReceiveFailure, patience: Patience) -> RecvError {
    match failure {
        ReceiveFailure::Closed => RecvError::Closed,
        ReceiveFailure::Empty if patience == Patience::None => RecvError::Empty,
        ReceiveFailure::Empty => RecvError::TimedOut,
        ReceiveFailure::Malformed(what) => RecvError::Malformed(what),
        ReceiveFailure::OutOfDescriptors => RecvError::OutOfDescriptors,
        ReceiveFailure::System(error) => RecvError::System(error),
        // The enum is non-exhaustive. mp-sys is pinned to this crate's version, so this cannot happen.
        _ => RecvError::Malformed("it is of an unknown kind"),
    }
}

pub(crate) fn not_read(error: PayloadError) -> RecvError {
    match error {
        PayloadError::TooLarge { found } => RecvError::TooLarge { found },
        PayloadError::Memory(error) => RecvError::Memory(error),
        _ => RecvError::Malformed("its file is not sealed"),
    }
}

/// Keeps a buffer for the thread's next message.
fn keep(buffer: Vec<u8>) {
    if buffer.capacity() <= KEPT_BYTES_MAX {
        // This fails only while the thread ends.
        let _kept = OUTGOING.try_with(|kept| kept.set(buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_round_trip_and_unknown_ones_are_refused() {
        for in_file in [false, true] {
            for print in [0, 1, u64::MAX] {
                let form = Form { in_file, print };
                assert_eq!(Form::from_head(form.to_head()), Some(form));
            }
        }
        let good = Form { in_file: false, print: 7 }.to_head();
        for word in [0, 1, 4, 6, 0x0102, 0x0900_0002] {
            let bad = Head { word, ..good };
            assert_eq!(Form::from_head(bad), None, "{bad:?}");
        }
    }
}

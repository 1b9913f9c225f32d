//! Passes a descriptor through a stream socket, between two processes that share only a name.
//!
//! Every function here returns at once. A process with several such streams polls them.
//!
//! Source: unix(7) `SCM_RIGHTS`; getrandom(2).

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::OsError;
use crate::descriptors::above_standard;
use crate::stream::{own_user, peer_user};
use crate::transient::again;

/// The most descriptors that are taken from one read; a peer that sends more loses them.
const DESCRIPTORS_MAX: usize = 1;

/// What a read returned.
#[derive(Debug)]
pub enum Heard {
    /// This many bytes, at least one, and the descriptor that came with them, if any.
    Bytes(usize, Option<OwnedFd>),
    /// There is nothing to read now.
    Nothing,
    /// The other side has closed the stream.
    End,
}

/// Reads what is there.
///
/// # Errors
/// Those of recvmsg(2); `EMFILE` if a descriptor arrived that this process has no room for.
pub fn hear(stream: impl AsFd, into: &mut [u8]) -> Result<Heard, OsError> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let outcome = match recvmsg(stream, &mut [IoSliceMut::new(into)], &mut control, flags) {
        Ok(outcome) => outcome,
        Err(Errno::AGAIN | Errno::INTR) => return Ok(Heard::Nothing),
        Err(Errno::CONNRESET) => return Ok(Heard::End),
        Err(other) => return Err(other.into()),
    };
    let mut descriptor = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(arrived) = message {
            descriptor = arrived.last().map(above_standard).transpose()?.or(descriptor);
        }
    }
    if outcome.bytes == 0 {
        return Ok(Heard::End);
    }
    if outcome.flags.contains(ReturnFlags::CTRUNC) && descriptor.is_none() {
        return Err(Errno::MFILE.into());
    }
    Ok(Heard::Bytes(outcome.bytes, descriptor))
}

/// Writes a few bytes, with a descriptor if there is one. A fresh stream has room for them.
///
/// # Errors
/// Those of sendmsg(2); `EPIPE` if the other side is gone.
pub fn say(stream: impl AsFd, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> Result<(), OsError> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let rights = descriptor.as_slice();
    if !rights.is_empty() && !control.push(SendAncillaryMessage::ScmRights(rights)) {
        return Err(Errno::INVAL.into());
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let sent = again(|| sendmsg(&stream, &[IoSlice::new(bytes)], &mut control, flags))?;
    if sent == bytes.len() { Ok(()) } else { Err(Errno::AGAIN.into()) }
}

/// Whether the process at the other side belonged to the same user when it connected or listened.
#[must_use]
pub fn is_same_user(stream: impl AsFd) -> bool {
    peer_user(stream) == Ok(own_user())
}

/// Returns 32 random bytes that cannot be guessed.
///
/// # Errors
/// `EAGAIN` early in a boot.
pub fn nonce() -> Result<[u8; 32], OsError> {
    let mut nonce = [0; 32];
    let filled = getrandom(&mut nonce, GetRandomFlags::NONBLOCK)?;
    // The kernel never returns up to 256 bytes in part.
    if filled == nonce.len() { Ok(nonce) } else { Err(Errno::AGAIN.into()) }
}

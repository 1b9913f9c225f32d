//! One system call: a packet out, or a packet in.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::{
    DESCRIPTORS_MAX, HEAD_BYTES, MAGIC, OVERHEAD_BYTES, ReceiveFailure, Received, SendFailure, VERSION,
};
use crate::adaptive::current_cpu;

/// Whether the call may sleep, for a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Try,
    Sleep,
}

const RIGHTS_BYTES: usize = cmsg_space!(ScmRights(DESCRIPTORS_MAX));

/// Sends a packet. `Full` also means that the slice ended.
pub(super) fn send_once(
    file: &OwnedFd,
    head: [u8; HEAD_BYTES],
    body: &[u8],
    descriptors: &[BorrowedFd<'_>],
    mode: Mode,
) -> Result<(), SendFailure> {
    let count = u8::try_from(descriptors.len()).unwrap_or(u8::MAX);
    if usize::from(count) > DESCRIPTORS_MAX {
        return Err(SendFailure::TooManyDescriptors);
    }
    let cpu = u8::try_from(current_cpu().saturating_add(1)).unwrap_or(0);
    let [a, b, c, d, e, f, g, h, i, j, k, l] = head;
    let head = [MAGIC, VERSION, cpu, count, a, b, c, d, e, f, g, h, i, j, k, l];
    let parts = [IoSlice::new(&head), IoSlice::new(body)];
    let flags = match mode {
        Mode::Try => SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        Mode::Sleep => SendFlags::NOSIGNAL,
    };
    let mut space = [MaybeUninit::uninit(); RIGHTS_BYTES];
    loop {
        let mut control = SendAncillaryBuffer::new(&mut space);
        if count > 0 && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(SendFailure::TooManyDescriptors);
        }
        return match sendmsg(file, &parts, &mut control, flags) {
            Ok(_) => Ok(()),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Err(SendFailure::Full),
            Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => Err(SendFailure::Closed),
            Err(Errno::MSGSIZE) => Err(SendFailure::TooLong),
            Err(Errno::TOOMANYREFS) => Err(SendFailure::DescriptorsInFlight),
            Err(other) => Err(SendFailure::System(other.into())),
        };
    }
}

/// Receives a packet, and tells the CPU byte of its sender. `Empty` also means that the slice ended.
pub(super) fn receive_once(
    file: &OwnedFd,
    body: &mut [u8],
    mode: Mode,
) -> Result<(Received, u8), ReceiveFailure> {
    let mut head = [0_u8; OVERHEAD_BYTES];
    let mut space = [MaybeUninit::uninit(); RIGHTS_BYTES];
    // TRUNC asks for the real length of a packet that does not fit.
    let mut flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::TRUNC;
    flags.set(RecvFlags::DONTWAIT, mode == Mode::Try);
    loop {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut head), IoSliceMut::new(body)];
        let outcome = match recvmsg(file, &mut parts, &mut control, flags) {
            Ok(outcome) => outcome,
            Err(Errno::INTR) => continue,
            // The other end was closed with packets unread there: told once, before what can still be received here.
            Err(Errno::CONNRESET) => continue,
            Err(Errno::AGAIN) => return Err(ReceiveFailure::Empty),
            Err(Errno::NOTCONN) => return Err(ReceiveFailure::Closed),
            Err(other) => return Err(ReceiveFailure::System(other.into())),
        };
        if outcome.bytes == 0 {
            return Err(ReceiveFailure::Closed);
        }
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(arrived) = message {
                descriptors.extend(arrived);
            }
        }
        return parse(head, outcome.bytes, outcome.flags, descriptors);
    }
}

/// Looks at what arrived; a peer may have sent anything.
fn parse(
    head: [u8; OVERHEAD_BYTES],
    bytes: usize,
    flags: ReturnFlags,
    descriptors: Vec<OwnedFd>,
) -> Result<(Received, u8), ReceiveFailure> {
    let [magic, version, cpu, count, head @ ..] = head;
    if magic != MAGIC {
        return Err(ReceiveFailure::Malformed("it does not begin like a message"));
    }
    if version != VERSION {
        return Err(ReceiveFailure::Malformed("it is of another version"));
    }
    let Some(body_len) = bytes.checked_sub(OVERHEAD_BYTES) else {
        return Err(ReceiveFailure::Malformed("it ends in its head"));
    };
    // There is room for as many as the kernel takes: what it cut off, this process had no free descriptor for.
    if flags.contains(ReturnFlags::CTRUNC) {
        return Err(ReceiveFailure::OutOfDescriptors);
    }
    if descriptors.len() != usize::from(count) {
        return Err(ReceiveFailure::Malformed("its descriptors are not as many as it says"));
    }
    Ok((Received { head, body_len, descriptors }, cpu))
}

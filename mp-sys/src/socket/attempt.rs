//! One system call that sends or receives a packet.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, send, sendmsg,
};

use super::{DESCRIPTORS_MAX, Head, MAGIC, OVERHEAD_BYTES, ReceiveFailure, Received, SendFailure, VERSION};
use crate::adaptive::current_cpu;
use crate::descriptors::above_standard;
use crate::transient::again;

/// Whether the call may sleep, for one slice. A signal ends the slice: another slice would have its full length again,
/// and the kernel does not restart a call with a timeout by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Try,
    Sleep,
}

/// The length of a packet for which the kernel always finds memory sooner or later. For a longer packet it may need
/// many adjacent pages; the tier has another way for those.
const SHORT_BYTES_MAX: usize = 4096;

const RIGHTS_BYTES: usize = cmsg_space!(ScmRights(DESCRIPTORS_MAX));

/// Sends a packet of two parts, and writes the prologue. `Full` also means that the slice ended, or that a signal ended
/// it. `TooLong` also means that there is no memory for a packet of this length now.
#[inline]
pub(super) fn send_once(
    file: &OwnedFd,
    packet: &mut [u8],
    rest: &[u8],
    descriptors: &[BorrowedFd<'_>],
    mode: Mode,
) -> Result<(), SendFailure> {
    let count = u8::try_from(descriptors.len()).unwrap_or(u8::MAX);
    if usize::from(count) > DESCRIPTORS_MAX {
        return Err(SendFailure::TooManyDescriptors);
    }
    let Some(prologue) = packet.first_chunk_mut() else {
        return Err(SendFailure::System(Errno::INVAL.into()));
    };
    *prologue = [MAGIC, VERSION, u8::try_from(current_cpu().saturating_add(1)).unwrap_or(0), count];
    let flags = match mode {
        Mode::Try => SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        Mode::Sleep => SendFlags::NOSIGNAL,
    };
    let is_short = packet.len().saturating_add(rest.len()) <= SHORT_BYTES_MAX;
    // The short call is 50 ns faster, which matters where two processes pass small messages on one core.
    let outcome = again(|| {
        let sent = if rest.is_empty() && descriptors.is_empty() {
            send(file, packet, flags)
        } else {
            send_parts(file, packet, rest, descriptors, flags)
        };
        // A signal ends a sleep, which is not repeated.
        sent.map_err(|errno| if errno == Errno::INTR && mode == Mode::Sleep { Errno::AGAIN } else { errno })
    });
    match outcome {
        Ok(_) => Ok(()),
        Err(Errno::AGAIN) => Err(SendFailure::Full),
        Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => Err(SendFailure::Closed),
        Err(Errno::MSGSIZE) => Err(SendFailure::TooLong),
        Err(Errno::NOBUFS | Errno::NOMEM) if !is_short => Err(SendFailure::TooLong),
        Err(Errno::TOOMANYREFS) => Err(SendFailure::DescriptorsInFlight),
        Err(other) => Err(SendFailure::System(other.into())),
    }
}

#[cold]
fn send_parts(
    file: &OwnedFd,
    packet: &[u8],
    rest: &[u8],
    descriptors: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); RIGHTS_BYTES];
    let mut control = SendAncillaryBuffer::new(&mut space);
    // There is room for the most descriptors that may be sent, which the caller checked.
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL);
    }
    sendmsg(file, &[IoSlice::new(packet), IoSlice::new(rest)], &mut control, flags)
}

/// Receives a packet; returns it with the CPU byte of its sender. `Empty` also means that the slice ended.
#[inline]
pub(super) fn receive_once(
    file: &OwnedFd,
    packet: &mut [u8],
    mode: Mode,
) -> Result<(Received, u8), ReceiveFailure> {
    let mut space = [MaybeUninit::uninit(); RIGHTS_BYTES];
    // With TRUNC, the kernel reports the real length of a packet that does not fit.
    let mut flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::TRUNC;
    flags.set(RecvFlags::DONTWAIT, mode == Mode::Try);
    loop {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let outcome = match recvmsg(file, &mut [IoSliceMut::new(packet)], &mut control, flags) {
            Ok(outcome) => outcome,
            Err(Errno::INTR) if mode == Mode::Try => continue,
            // The other end was closed with packets unread there. The kernel reports that once, before what can still
            // be received here.
            Err(Errno::CONNRESET) => continue,
            Err(Errno::AGAIN | Errno::INTR) => return Err(ReceiveFailure::Empty),
            Err(Errno::NOTCONN) => return Err(ReceiveFailure::Closed),
            Err(other) => return Err(ReceiveFailure::System(other.into())),
        };
        if outcome.bytes == 0 {
            return Err(ReceiveFailure::Closed);
        }
        let descriptors = descriptors_in(&mut control);
        return parse(packet, outcome.bytes, outcome.flags, descriptors);
    }
}

/// Collects the descriptors, and allocates nothing if there are none. Fails if one of them cannot be moved above the
/// standard ones.
#[inline]
fn descriptors_in(control: &mut RecvAncillaryBuffer<'_>) -> Result<Vec<OwnedFd>, Errno> {
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(arrived) = message {
            for file in arrived {
                descriptors.push(above_standard(file)?);
            }
        }
    }
    Ok(descriptors)
}

/// Checks what arrived: a peer may have sent anything.
#[inline]
fn parse(
    packet: &[u8],
    bytes: usize,
    flags: ReturnFlags,
    descriptors: Result<Vec<OwnedFd>, Errno>,
) -> Result<(Received, u8), ReceiveFailure> {
    // Where a short packet wrote nothing, the buffer still holds its old bytes. The length is checked below.
    let Some(&[magic, version, cpu, count, a, b, c, d, ref long @ ..]) =
        packet.first_chunk::<OVERHEAD_BYTES>()
    else {
        return Err(ReceiveFailure::System(Errno::INVAL.into()));
    };
    let head = Head { word: u32::from_le_bytes([a, b, c, d]), long: u64::from_ne_bytes(*long) };
    let Some(body_len) = bytes.checked_sub(OVERHEAD_BYTES) else {
        return Err(ReceiveFailure::Malformed("it ends inside its head"));
    };
    if magic != MAGIC {
        return Err(ReceiveFailure::Malformed("it does not begin as a message does"));
    }
    if version != VERSION {
        return Err(ReceiveFailure::Malformed("it is of another version"));
    }
    // There is room for the most descriptors that the kernel accepts. If the kernel cut some off, this process had no
    // free descriptor for them.
    let Ok(descriptors) = descriptors else {
        return Err(ReceiveFailure::OutOfDescriptors);
    };
    if flags.contains(ReturnFlags::CTRUNC) {
        return Err(ReceiveFailure::OutOfDescriptors);
    }
    if descriptors.len() != usize::from(count) {
        return Err(ReceiveFailure::Malformed("it does not carry as many descriptors as it says"));
    }
    Ok((Received { head, body_len, descriptors }, cpu))
}

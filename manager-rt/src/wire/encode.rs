//! Encoding calls into a buffer.

use mp_sys::adaptive::current_cpu;
use postcard::ser_flavors::Flavor;
use serde::Serialize;

use crate::count::count_of;
use crate::limits::FRAME_BYTES_MAX;
use crate::proto::Fault;
use crate::wire::frame::{FrameKind, HEAD_BYTES, Head};

/// Appends one frame.
///
/// # Errors
/// [`Fault::TooLarge`]. Then the buffer is unchanged.
pub(crate) fn frame(
    into: &mut Vec<u8>,
    kind: FrameKind,
    (call, read): (u64, u64),
    body: &impl Serialize,
) -> Result<(), Fault> {
    append(into, Head { body_len: 0, kind, cpu: cpu(), call, read }, body, &[]).map(drop)
}

/// Appends one frame without the bytes of a `long` value inside it. Returns where they belong, unless they are empty.
///
/// # Errors
/// [`Fault::TooLarge`]. Then the buffer is unchanged.
pub(crate) fn frame_around(
    into: &mut Vec<u8>,
    kind: FrameKind,
    (call, read): (u64, u64),
    (body, long): (&impl Serialize, &[u8]),
) -> Result<Option<usize>, Fault> {
    append(into, Head { body_len: 0, kind, cpu: cpu(), call, read }, body, long)
}

/// Appends the frame of a call that is sent later. Until then, `call` is its number, which [`number`] changes.
///
/// # Errors
/// [`Fault::TooLarge`]. Then the buffer is unchanged.
pub(crate) fn without_numbers(into: &mut Vec<u8>, call: u64, body: &impl Serialize) -> Result<(), Fault> {
    append(into, Head { body_len: 0, kind: FrameKind::Call, cpu: 0, call, read: 0 }, body, &[]).map(drop)
}

/// Appends a part of a body, which ends at `end` at the latest.
///
/// # Errors
/// [`Fault::TooLarge`]. Then the buffer may contain a part of it.
pub(crate) fn body(into: &mut Vec<u8>, part: &impl Serialize, end: usize) -> Result<(), Fault> {
    let writer = Writer { end, into, long: &[], left_out: None };
    let written = postcard::serialize_with_flavor(part, writer);
    written.map(drop).map_err(|_| Fault::TooLarge { limit: count_of(FRAME_BYTES_MAX) })
}

/// Adds a number to those of the calls in all frames, and enters how many answers were read.
pub(crate) fn number(mut frames: &mut [u8], added: u64, read: u64) {
    let cpu = cpu();
    while let Some((first, rest)) = frames.split_first_chunk_mut::<HEAD_BYTES>()
        && let Some(head) = Head::of(first)
    {
        *first = Head { cpu, call: head.call.wrapping_add(added), read, ..head }.to_bytes();
        let len = usize::try_from(head.body_len).unwrap_or(usize::MAX);
        frames = rest.get_mut(len..).unwrap_or_default();
    }
}

fn append(
    into: &mut Vec<u8>,
    head: Head,
    body: &impl Serialize,
    long: &[u8],
) -> Result<Option<usize>, Fault> {
    let start = into.len();
    into.extend_from_slice(&head.to_bytes());
    let begin = into.len();
    let end = begin.saturating_add(FRAME_BYTES_MAX);
    let writer = Writer { end, into: &mut *into, long, left_out: None };
    let left_out = postcard::serialize_with_flavor(body, writer);
    let elsewhere = if matches!(left_out, Ok(Some(_))) { long.len() } else { 0 };
    let len = into.len().saturating_sub(begin).saturating_add(elsewhere);
    match (left_out, u32::try_from(len), into.get_mut(start..begin)) {
        (Ok(left_out), Ok(body_len), Some(place)) if place.len() == HEAD_BYTES => {
            place.copy_from_slice(&Head { body_len, ..head }.to_bytes());
            Ok(left_out)
        }
        _ => {
            into.truncate(start);
            Err(Fault::TooLarge { limit: FRAME_BYTES_MAX.try_into().unwrap_or(u64::MAX) })
        }
    }
}

/// Replaces the numbers of a frame, and the CPU in it, before the frame is sent.
#[cfg(feature = "tokio")]
pub(crate) fn renumber(frame: &mut [u8], (call, read): (u64, u64)) {
    if let Some(place) = frame.first_chunk_mut()
        && let Some(head) = Head::of(place)
    {
        *place = Head { cpu: cpu(), call, read, ..head }.to_bytes();
    }
}

/// Enters into a frame how many answers were read when it is sent.
pub(crate) fn enter_read(frame: &mut [u8], read: u64) {
    if let Some(place) = frame.first_chunk_mut()
        && let Some(head) = Head::of(place)
    {
        *place = Head { read, ..head }.to_bytes();
    }
}

/// Returns the current CPU plus one, or 0 if its number does not fit into the byte.
fn cpu() -> u8 {
    u8::try_from(current_cpu().saturating_add(1)).unwrap_or(0)
}

/// The writer that postcard encodes to, limited to the length of a frame.
struct Writer<'a> {
    into: &'a mut Vec<u8>,
    /// Where the frame ends at the latest.
    end: usize,
    /// The bytes that are left out, recognised by their address.
    long: &'a [u8],
    /// Where they were left out.
    left_out: Option<usize>,
}

impl Flavor for Writer<'_> {
    type Output = Option<usize>;

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        if self.into.len() >= self.end {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.into.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if self.end.saturating_sub(self.into.len()) < bytes.len() {
            return Err(postcard::Error::SerializeBufferFull);
        }
        if bytes.len() == self.long.len()
            && !bytes.is_empty()
            && std::ptr::eq(bytes, self.long)
            && self.left_out.is_none()
        {
            self.left_out = Some(self.into.len());
            self.end = self.end.saturating_sub(bytes.len());
            return Ok(());
        }
        self.into.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Option<usize>> {
        Ok(self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Call, DictOp, ObjectId, Op, Raw, Travels as _, Wait};

    #[test]
    fn a_long_value_is_left_out_of_its_frame_and_belongs_where_it_was() {
        let call = |value| {
            let op = Op::Dict(DictOp::Store(Raw::plain(b"key"), Raw::plain(value)));
            Call { object: ObjectId(9), thread: 300, wait: Wait::No, op }
        };
        let long = vec![7; 40_000];
        for (value, is_long) in [(&long[..], true), (&long[..32 << 10], true), (&long[1..32 << 10], false)] {
            let (call, mut whole, mut around) = (call(value), Vec::new(), vec![1]);
            frame(&mut whole, FrameKind::Call, (7, 3), &call).unwrap();
            let place = frame_around(&mut around, FrameKind::Call, (7, 3), (&call, call.long())).unwrap();
            assert_eq!(place.is_some(), is_long);
            if let Some(place) = place {
                around.splice(place..place, value.iter().copied());
            }
            // The CPU may have changed.
            (whole[5], around[6]) = (0, 0);
            assert_eq!(around[1..], whole);
        }
        let too_long = vec![0; FRAME_BYTES_MAX];
        let call = call(&too_long);
        let mut around = vec![1];
        frame_around(&mut around, FrameKind::Call, (7, 3), (&call, call.long())).unwrap_err();
        assert_eq!(around, [1]);
    }

    #[test]
    fn a_frame_has_a_longest_length_and_not_one_byte_more() {
        // Here the length takes four bytes, and the absence of ids takes one.
        let value = vec![0_u8; FRAME_BYTES_MAX - 4];
        let longest = Raw::plain(&value[1..]);
        let mut buffer = vec![1];
        frame(&mut buffer, FrameKind::Call, (7, 3), &longest).unwrap();
        assert_eq!(buffer.len(), 1 + HEAD_BYTES + FRAME_BYTES_MAX);
        let head = Head::of(buffer[1..].first_chunk().unwrap()).unwrap();
        assert_eq!((head.call, head.read, usize::try_from(head.body_len)), (7, 3, Ok(FRAME_BYTES_MAX)));
        let mut buffer = vec![1];
        let longer = Raw::plain(&value);
        let error = frame(&mut buffer, FrameKind::Call, (7, 3), &longer).unwrap_err();
        assert_eq!((error, &*buffer), (Fault::TooLarge { limit: FRAME_BYTES_MAX as u64 }, &[1][..]));
    }
}

//! Extracts frames from a stream of bytes, however the stream is cut.
//!
//! Bytes are read into a buffer that all connections share, so an idle connection has no buffer of its own. The
//! beginning of a frame that is left after a turn stays with the connection. A frame that is longer than the shared
//! buffer is collected in separate memory, which grows with the received bytes and not with the announced length. It is
//! handed over as a whole, so a long value inside it is kept without a copy.

use bytes::Bytes;

use crate::limits::FRAME_BYTES_MAX;
use crate::wire::frame::{HEAD_BYTES, Head};

/// The least growth of a frame in separate memory, in bytes.
const GROWTH_BYTES_MIN: usize = 256 << 10;

/// Bytes are not copied if they are at least one in this many of the memory that they lie in.
#[cfg(feature = "server")]
const KEPT_PART_MIN: usize = 4;

/// Why the rest of a stream cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Garbage {
    /// The bytes are not the head of a frame.
    NoHead,
    /// The body is longer than a frame may be.
    TooLong,
    /// There is no memory for the body.
    NoMemory,
}

/// A complete frame.
#[derive(Debug)]
pub(crate) enum Frame<'a> {
    /// A frame in the shared buffer.
    Short(Head, &'a [u8]),
    /// A frame in separate memory.
    Long(Head, Bytes),
}

/// The received bytes of a connection that are not a complete frame yet.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    /// The beginning of a frame that fits into the shared buffer.
    #[cfg(feature = "server")]
    rest: Bytes,
    /// A long frame.
    long: Option<(Head, Vec<u8>)>,
}

impl Inbound {
    /// Copies the bytes that were left into the shared buffer, and returns how many there were.
    #[cfg(feature = "server")]
    pub(crate) fn restore(&mut self, buffer: &mut [u8]) -> usize {
        let len = self.rest.len();
        if let Some(place) = buffer.get_mut(..len) {
            place.copy_from_slice(&self.rest);
        }
        // An idle connection keeps no memory.
        self.rest = Bytes::new();
        len
    }

    /// Removes and returns the bytes that were left.
    #[cfg(feature = "server")]
    pub(crate) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.rest)
    }

    /// Removes and returns the next frame from the front of `bytes`, or returns `None` if it is incomplete.
    ///
    /// # Errors
    /// [`Garbage`]. No later bytes can be understood either.
    pub(crate) fn next<'a>(
        &mut self,
        bytes: &mut &'a [u8],
        buffer_len: usize,
    ) -> Result<Option<Frame<'a>>, Garbage> {
        if let Some((head, body)) = &mut self.long {
            let head = *head;
            collect(body, bytes, body_len(head))?;
            if body.len() < body_len(head) {
                return Ok(None);
            }
            let (head, body) = self.long.take().map_or((head, Vec::new()), |whole| whole);
            return Ok(Some(Frame::Long(head, Bytes::from(body))));
        }
        let Some((first, behind)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let head = Head::of(first).ok_or(Garbage::NoHead)?;
        let len = body_len(head);
        if len > FRAME_BYTES_MAX {
            return Err(Garbage::TooLong);
        }
        if let Some((body, rest)) = behind.split_at_checked(len) {
            *bytes = rest;
            return Ok(Some(Frame::Short(head, body)));
        }
        if len.saturating_add(HEAD_BYTES) > buffer_len {
            let mut body = Vec::new();
            *bytes = behind;
            collect(&mut body, bytes, len)?;
            self.long = Some((head, body));
        }
        Ok(None)
    }

    /// Puts back a long frame that could not be run, so that [`next`](Self::next) returns it again.
    #[cfg(feature = "server")]
    pub(crate) fn put_back(&mut self, head: Head, body: Bytes) {
        // Nothing else refers to the memory, so it is not copied.
        self.long = Some((head, body.into()));
    }

    /// Keeps bytes for the next turn: the frames that were not run, and the beginning of an incomplete one. If they are
    /// a large part of `memory`, they are not copied.
    #[cfg(feature = "server")]
    pub(crate) fn keep(&mut self, bytes: &[u8], memory: &Bytes) {
        if bytes.is_empty() {
            return;
        }
        let lie_inside = memory.as_ptr_range().contains(&bytes.as_ptr());
        self.rest = if lie_inside && bytes.len() >= memory.len() / KEPT_PART_MIN {
            memory.slice_ref(bytes)
        } else {
            Bytes::copy_from_slice(bytes)
        };
    }

    /// Returns `true` if the stream is between two frames, so that its end would cut none.
    #[cfg(feature = "server")]
    pub(crate) fn is_between_frames(&self) -> bool {
        self.rest.is_empty() && self.long.is_none()
    }
}

fn body_len(head: Head) -> usize {
    usize::try_from(head.body_len).unwrap_or(usize::MAX)
}

/// Moves bytes into a body until it is complete.
fn collect(body: &mut Vec<u8>, bytes: &mut &[u8], len: usize) -> Result<(), Garbage> {
    let missing = len.saturating_sub(body.len());
    let (more, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
    if body.capacity().saturating_sub(body.len()) < more.len() {
        // The memory at least doubles, so that each byte is moved a bounded number of times, but never exceeds the
        // length.
        let growth = body.len().max(GROWTH_BYTES_MIN).max(more.len()).min(missing);
        body.try_reserve_exact(growth).map_err(|_| Garbage::NoMemory)?;
    }
    body.extend_from_slice(more);
    *bytes = rest;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::FrameKind;

    const BUFFER: usize = 256;

    fn frame(call: u64, body: &[u8]) -> Vec<u8> {
        let body_len = u32::try_from(body.len()).unwrap();
        [&Head { body_len, kind: FrameKind::Call, cpu: 1, call, read: 0 }.to_bytes()[..], body].concat()
    }

    /// Reads a stream that arrives in pieces of a given length, as the event loop does.
    #[expect(clippy::panic_in_result_fn, reason = "the error is what one test is about")]
    fn read(stream: &[u8], piece: usize) -> Result<Vec<(u64, Vec<u8>)>, Garbage> {
        let mut inbound = Inbound::default();
        let mut buffer = vec![0; BUFFER];
        let mut frames = Vec::new();
        let mut stream = stream;
        while !stream.is_empty() {
            let start = inbound.restore(&mut buffer);
            let len = piece.min(stream.len()).min(BUFFER - start);
            buffer[start..start + len].copy_from_slice(&stream[..len]);
            stream = &stream[len..];
            let mut bytes = &buffer[..start + len];
            while let Some(frame) = inbound.next(&mut bytes, BUFFER)? {
                frames.push(match frame {
                    Frame::Short(head, body) => (head.call, body.to_vec()),
                    Frame::Long(head, body) => (head.call, body.to_vec()),
                });
            }
            inbound.keep(bytes, &Bytes::new());
        }
        assert!(inbound.is_between_frames());
        Ok(frames)
    }

    #[test]
    fn frames_come_out_whole_however_the_stream_is_cut() {
        let lens = [0, 1, BUFFER - HEAD_BYTES - 1, BUFFER - HEAD_BYTES, BUFFER - HEAD_BYTES + 1, 5_000, 3];
        let bodies: Vec<_> = lens.iter().map(|len| vec![u8::try_from(len % 251).unwrap(); *len]).collect();
        let calls = 0_u64..;
        let expected: Vec<_> = calls.zip(bodies).collect();
        let stream: Vec<u8> = expected.iter().flat_map(|(call, body)| frame(*call, body)).collect();
        for piece in [1, 7, 24, 25, 100, BUFFER, 10_000] {
            assert_eq!(read(&stream, piece).unwrap(), expected, "pieces of {piece}");
        }
    }

    #[test]
    fn garbage_is_an_error() {
        assert_eq!(read(&[0xff; 64], 64).unwrap_err(), Garbage::NoHead);
        let limit = u32::try_from(FRAME_BYTES_MAX).unwrap();
        let head = |body_len| Head { body_len, kind: FrameKind::Call, cpu: 0, call: 0, read: 0 }.to_bytes();
        assert_eq!(read(&head(limit + 1), 64).unwrap_err(), Garbage::TooLong);
        let mut inbound = Inbound::default();
        assert!(inbound.next(&mut &head(limit)[..], BUFFER).unwrap().is_none());
        let (_, body) = inbound.long.unwrap();
        assert_eq!(body.capacity(), 0, "an announced length allocates no memory");
    }
}

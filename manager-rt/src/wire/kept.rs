//! A buffer that each thread of a client keeps: for the frames of its next call, or for a long answer.
//!
//! A thread needs it for one of the two at a time. It sends a call and then waits for the answer, which it usually reads
//! itself, and has decoded before its next call.

use std::cell::Cell;

use bytes::Bytes;

/// A thread keeps a buffer of at most this many bytes. An allocator often returns memory of that length to the system, and
/// every page of new memory costs as much as copying a few of them.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// A long answer uses the buffer if it fills at least one in this many of its bytes. It may be kept for long.
const USED_PART_MIN: usize = 4;

thread_local! {
    static KEPT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Returns this thread's buffer, empty, or a new one while the thread ends.
pub(crate) fn buffer() -> Vec<u8> {
    KEPT.try_with(Cell::take).unwrap_or_default()
}

/// Returns this thread's buffer for a long answer of this many bytes, or a new one if it is too short or much too long.
pub(crate) fn buffer_for(len: usize) -> Vec<u8> {
    let buffer = buffer();
    if (len..=len.saturating_mul(USED_PART_MIN)).contains(&buffer.capacity()) {
        return buffer;
    }
    keep(buffer);
    Vec::new()
}

/// Keeps a buffer for the next use by this thread.
pub(crate) fn keep(mut buffer: Vec<u8>) {
    if buffer.capacity() <= KEPT_BYTES_MAX {
        buffer.clear();
        // While the thread ends, its buffer ends with it.
        let _kept = KEPT.try_with(|kept| kept.set(buffer));
    }
}

/// Returns a long answer whose memory the thread that drops the last part of it keeps.
pub(crate) fn lent(body: Vec<u8>) -> Bytes {
    if body.capacity() <= KEPT_BYTES_MAX { Bytes::from_owner(Lent(body)) } else { Bytes::from(body) }
}

struct Lent(Vec<u8>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        keep(std::mem::take(&mut self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_its_buffer_unless_it_is_long() {
        keep(Vec::with_capacity(KEPT_BYTES_MAX + 1));
        assert_eq!(buffer().capacity(), 0);
        keep(Vec::with_capacity(KEPT_BYTES_MAX));
        assert_eq!(buffer().capacity(), KEPT_BYTES_MAX);
        assert_eq!(buffer().capacity(), 0, "the buffer is in use");
    }

    #[test]
    fn a_long_answer_uses_a_buffer_that_it_fills_well_enough() {
        keep(Vec::with_capacity(1000));
        assert_eq!(buffer_for(1001).capacity(), 0);
        assert_eq!(buffer_for(249).capacity(), 0);
        assert_eq!(buffer_for(250).capacity(), 1000);
        keep(Vec::with_capacity(1000));
        assert_eq!(buffer_for(1000).capacity(), 1000);
        assert_eq!(buffer().capacity(), 0, "it is in use");
    }

    #[test]
    fn the_memory_of_an_answer_is_kept_when_its_last_part_is_dropped() {
        let mut body = Vec::with_capacity(1000);
        body.extend_from_slice(b"answer");
        let answer = lent(body);
        let part = answer.slice(2..4);
        drop(answer);
        assert_eq!((&*part, buffer().capacity()), (&b"sw"[..], 0));
        drop(part);
        assert_eq!(buffer().capacity(), 1000);
        drop(lent(Vec::with_capacity(KEPT_BYTES_MAX + 1)));
        assert_eq!(buffer().capacity(), 0, "a longer one is not kept");
    }
}

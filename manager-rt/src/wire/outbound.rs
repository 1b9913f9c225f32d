//! Answers that wait to be written. Short ones are copied together; the bytes of long values are shared with the
//! object.
//!
//! The end of each answer is recorded until the answer was written. When a client dies, the answers that were not
//! completely written are those that it certainly did not read.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::iter;
use std::sync::Arc;

use bytes::Bytes;
use postcard::ser_flavors::Flavor;
use serde::ser::SerializeTuple;
use serde::{Serialize, Serializer};

use crate::account::{Account, Charge, Share, charged};
use crate::count::count_of;
use crate::proto::version::{ITEMS_SAID_SINCE, OLDEST};
use crate::proto::{Answer, Fault, Payload, Reply};
use crate::wire::frame::{FrameKind, HEAD_BYTES, Head};

/// The most slices passed to one system call.
const SLICES_MAX: usize = 64;
/// The memory for at most this many ends is kept after all answers were written.
const ENDS_KEPT_MAX: usize = 512;
/// The written part of a buffer is removed when it has at least this many bytes, and is half of the buffer.
const WRITTEN_BYTES_MAX: usize = 64 << 10;
/// A buffer of at most this many bytes is reused after it was written.
const KEPT_BYTES_MAX: usize = 4 << 10;

/// The data to write to a client.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    /// The segments before the tail.
    segments: VecDeque<Segment>,
    /// What is charged for those of the segments that are its own bytes.
    own_segments: usize,
    /// The buffer that answers are encoded into.
    tail: Vec<u8>,
    /// How many bytes of the first segment, or of the tail if there is none, were written.
    written_of_first: usize,
    /// How many bytes were queued, and how many were written, since the connection began.
    queued: u64,
    written: u64,
    /// The ends of the answers that were not completely written.
    ends: VecDeque<u64>,
    /// The end of the newest answer that was completely written.
    newest_end: u64,
    /// The number of answers so far.
    answers: u64,
    /// The version of the protocol that the client uses, after the handshake.
    version: Option<u16>,
    /// What is charged for the tail and the ends; without an account, nothing is.
    charge: Option<Charge>,
    /// The share of the client, after the handshake, and what is charged to it for the tail and the ends.
    share: Option<(Share, Charge)>,
}

/// Bytes to write before the tail.
#[derive(Debug)]
struct Segment {
    bytes: Bytes,
    /// How much of them is charged as an answer to this client: nothing of a long value, which is charged to its object.
    charged: usize,
}

impl Outbound {
    /// Makes one whose own memory is charged to an account. The bytes of long values are charged already.
    pub(crate) fn within(account: &Arc<Account>) -> Self {
        Self { charge: Some(account.charge(0)), ..Self::default() }
    }

    /// Charges what is kept from now on to the share of a client, too.
    pub(crate) fn belongs_to(&mut self, share: Share) {
        let charge = share.charge_bulk(0);
        self.share = Some((share, charge));
        self.recharge();
    }

    /// Returns `true` if the answers of all clients that share the account take more than they may.
    pub(crate) fn is_under_pressure(&self) -> bool {
        self.charge.as_ref().is_some_and(|charge| charge.account().check(0).is_err())
    }

    /// Charges what the tail and the ends take after a change.
    #[inline]
    fn recharge(&mut self) {
        if let Some(charge) = &mut self.charge {
            let ends = self.ends.capacity().saturating_mul(size_of::<u64>());
            let bytes = self.tail.capacity().saturating_add(ends);
            charge.replace(charge.bytes(), bytes);
            if let Some((_, of_share)) = &mut self.share {
                of_share.replace(of_share.bytes(), bytes);
            }
        }
    }

    /// Turns bytes of its own into a segment.
    fn segment(&self, bytes: Vec<u8>) -> Segment {
        let charged_bytes = bytes.capacity();
        match &self.charge {
            Some(charge) => {
                let of_share = self.share.as_ref().map(|(share, _)| share.charge_bulk(charged_bytes));
                let charges = (charge.account().charge(charged_bytes), of_share);
                Segment { bytes: charged(bytes, charges), charged: charged_bytes }
            }
            None => Segment { bytes: Bytes::from(bytes), charged: charged_bytes },
        }
    }

    /// Returns the bytes of memory that answers to this client take in addition to long values.
    pub(crate) fn charged(&self) -> usize {
        let ends = self.ends.capacity().saturating_mul(size_of::<u64>());
        self.tail.capacity().saturating_add(ends).saturating_add(self.own_segments)
    }

    /// Returns the number of bytes that are not written yet.
    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.queued.saturating_sub(self.written)).unwrap_or(usize::MAX)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.queued == self.written
    }

    /// Returns the number of the first answer that was not completely written.
    pub(crate) fn first_unwritten(&self) -> u64 {
        self.answers.saturating_sub(count_of(self.ends.len()))
    }

    /// Returns `true` if the last written byte ends an answer.
    pub(crate) const fn is_between_answers(&self) -> bool {
        self.written == self.newest_end
    }

    /// Records the version of the protocol that the client uses.
    pub(crate) const fn agree_on(&mut self, version: u16) {
        self.version = Some(version);
    }

    /// Returns `true` if the client says which items it has read before another answer can follow.
    pub(crate) fn is_said_what_was_read(&self) -> bool {
        self.version.is_some_and(|version| version >= ITEMS_SAID_SINCE)
    }

    /// Adds bytes that are not an answer.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.count(bytes.len());
        self.recharge();
    }

    /// Adds an answer.
    pub(crate) fn answer(&mut self, call: u64, answer: &Answer<Payload>, cpu: u8) {
        match answer {
            Ok(reply) => match reply.known_to(self.version.unwrap_or(OLDEST)) {
                Some(older) => self.frame(FrameKind::Reply, call, cpu, &older, Vec::new()),
                None => self.frame(FrameKind::Reply, call, cpu, reply, reply.long_values()),
            },
            Err(fault) => {
                let fault = fault.known_to(self.version.unwrap_or(OLDEST));
                self.frame(FrameKind::Fault, call, cpu, &fault, Vec::new());
            }
        }
        self.end_answer();
    }

    /// Adds the answer to a call, and those to the calls whose numbers follow, in one frame.
    pub(crate) fn answers(&mut self, call: u64, first: &Answer<Payload>, more: &[Answer<Payload>], cpu: u8) {
        if more.is_empty() {
            return self.answer(call, first, cpu);
        }
        let version = self.version.unwrap_or(OLDEST);
        let count = u16::try_from(more.len()).unwrap_or(u16::MAX).saturating_add(1);
        let mut long = Vec::new();
        for reply in iter::once(first).chain(more).flatten() {
            reply.each_value(&mut |value| long.extend(value.long_bytes().cloned()));
        }
        let body = InTurn { first, more, version };
        self.frame(FrameKind::Answers(count), call, cpu, &body, long);
        self.end_answer();
    }

    /// Adds a list of names that were encoded before: their number, and the bytes of their pages. These are shared.
    pub(crate) fn names(&mut self, call: u64, count: u64, pages: &[Bytes], cpu: u8) {
        let empty = Reply::<Payload>::Names(Vec::new());
        // An empty list ends with its number of names, which is a single byte.
        let mut head = postcard::to_allocvec(&empty).unwrap_or_default();
        head.pop();
        head.extend(postcard::to_allocvec(&count).unwrap_or_default());
        let len = pages.iter().fold(head.len(), |len, page| len.saturating_add(page.len()));
        let body_len = u32::try_from(len).unwrap_or(u32::MAX);
        let frame = Head { body_len, kind: FrameKind::Reply, cpu, call, read: 0 };
        self.tail.extend_from_slice(&frame.to_bytes());
        self.tail.extend_from_slice(&head);
        for page in pages.iter().filter(|page| !page.is_empty()) {
            // The charge ends with the page, which is an unread answer of this client and of no other.
            self.share(page.clone(), page.len());
        }
        self.count(HEAD_BYTES.saturating_add(len));
        self.end_answer();
    }

    fn end_answer(&mut self) {
        self.answers = self.answers.saturating_add(1);
        self.ends.push_back(self.queued);
        self.recharge();
    }

    fn frame(&mut self, kind: FrameKind, call: u64, cpu: u8, body: &impl Serialize, long: Vec<Bytes>) {
        let (segment, start) = (self.segments.len(), self.tail.len());
        self.tail.extend_from_slice(&Head { body_len: 0, kind, cpu, call, read: 0 }.to_bytes());
        let len = match postcard::serialize_with_flavor(body, Writer { out: self, len: 0, long }) {
            Ok(len) => len,
            Err(error) => {
                // The writer accepts everything, and postcard can encode all types of the protocol.
                tracing::error!(%error, "an answer could not be encoded");
                0
            }
        };
        self.count(HEAD_BYTES.saturating_add(len));
        // A short answer is in the tail. A long one has turned the beginning of the tail into a segment.
        let len = u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
        let range = start..start.saturating_add(len.len());
        if self.segments.len() == segment {
            if let Some(place) = self.tail.get_mut(range) {
                place.copy_from_slice(&len);
            }
        } else if let Some(bytes) = self.segments.get_mut(segment) {
            let mut own = bytes.bytes.to_vec();
            if let Some(place) = own.get_mut(range) {
                place.copy_from_slice(&len);
            }
            let own = self.segment(own);
            if let Some(place) = self.segments.get_mut(segment) {
                self.own_segments =
                    self.own_segments.saturating_sub(place.charged).saturating_add(own.charged);
                *place = own;
            }
        }
    }

    fn count(&mut self, len: usize) {
        self.queued = self.queued.saturating_add(count_of(len));
    }

    /// Adds bytes without a copy, of which so many are charged as an answer.
    fn share(&mut self, bytes: Bytes, charged: usize) {
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            let tail = self.segment(tail);
            self.own_segments = self.own_segments.saturating_add(tail.charged);
            self.segments.push_back(tail);
        }
        self.own_segments = self.own_segments.saturating_add(charged);
        self.segments.push_back(Segment { bytes, charged });
    }

    /// Writes as much as `write` accepts, which returns `None` if it accepts no more now. Returns `Ok(true)` once
    /// everything is written.
    ///
    /// # Errors
    /// The error of `write`.
    pub(crate) fn flush<E>(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> Result<Option<usize>, E>,
    ) -> Result<bool, E> {
        while !self.is_empty() {
            let written = if self.segments.is_empty() {
                let rest = self.tail.get(self.written_of_first..).unwrap_or_default();
                write(&[IoSlice::new(rest)])?
            } else {
                let mut skipped = self.written_of_first;
                let slices: Vec<IoSlice<'_>> = (self.segments.iter().map(|segment| &*segment.bytes))
                    .chain([&*self.tail])
                    .take(SLICES_MAX)
                    .map(|bytes| IoSlice::new(bytes.get(std::mem::take(&mut skipped)..).unwrap_or_default()))
                    .collect();
                write(&slices)?
            };
            let Some(len) = written else { return Ok(false) };
            self.advance(len);
        }
        Ok(true)
    }

    fn advance(&mut self, len: usize) {
        self.written = self.written.saturating_add(count_of(len));
        while let Some(end) = self.ends.front().copied()
            && end <= self.written
        {
            self.newest_end = end;
            self.ends.pop_front();
        }
        let mut written = self.written_of_first.saturating_add(len);
        while let Some(first) = self.segments.front()
            && written >= first.bytes.len()
        {
            written = written.saturating_sub(first.bytes.len());
            self.own_segments = self.own_segments.saturating_sub(first.charged);
            self.segments.pop_front();
        }
        self.written_of_first = written;
        let is_mostly_written = written >= WRITTEN_BYTES_MAX && written >= self.tail.len() / 2;
        if self.segments.is_empty() && is_mostly_written {
            // A long pipeline is never written completely, and its answers would pile up.
            self.tail.drain(..written.min(self.tail.len()));
            self.written_of_first = 0;
        }
        if self.is_empty() {
            self.written_of_first = 0;
            if self.tail.capacity() <= KEPT_BYTES_MAX {
                self.tail.clear();
            } else {
                self.tail = Vec::new();
            }
            if self.ends.capacity() > ENDS_KEPT_MAX {
                self.ends = VecDeque::new();
            }
            self.recharge();
        }
    }
}

/// Several answers, in the form that a version knows. They are encoded one after the other.
struct InTurn<'a> {
    first: &'a Answer<Payload>,
    more: &'a [Answer<Payload>],
    version: u16,
}

impl Serialize for InTurn<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.more.len().saturating_add(1))?;
        for answer in iter::once(self.first).chain(self.more) {
            match answer {
                Ok(reply) => match reply.known_to(self.version) {
                    Some(older) => tuple.serialize_element(&Ok::<_, Fault>(older))?,
                    None => tuple.serialize_element(&Ok::<_, Fault>(reply))?,
                },
                Err(fault) => {
                    let fault = fault.known_to(self.version);
                    tuple.serialize_element(&Err::<Reply<Payload>, _>(fault))?;
                }
            }
        }
        tuple.end()
    }
}

/// The writer that postcard encodes to.
struct Writer<'a> {
    out: &'a mut Outbound,
    len: usize,
    /// The bytes of long values, recognised by their address.
    long: Vec<Bytes>,
}

impl Flavor for Writer<'_> {
    type Output = usize;

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.out.tail.push(byte);
        self.len = self.len.saturating_add(1);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.len = self.len.saturating_add(bytes.len());
        let place = bytes.as_ptr_range();
        match self.long.iter().find(|long| !long.is_empty() && long.as_ptr_range() == place) {
            // It is charged to its object.
            Some(long) => self.out.share(long.clone(), 0),
            None => self.out.tail.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<usize> {
        Ok(self.len)
    }
}

#[cfg(test)]
mod tests;

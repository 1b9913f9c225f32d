//! Extracts frames from a stream of bytes, however the stream is cut.
//!
//! Bytes are read into a buffer that all connections share, so an idle connection has no buffer of its own. The
//! beginning of a frame that is left after a turn stays with the connection. A frame that is longer than the shared
//! buffer is collected in separate memory, which grows with the received bytes and not with the announced length. It is
//! handed over as a whole, so a long value inside it is kept without a copy.
//!
//! The unfinished frames of all connections of a server have an account together. A frame that does not fit is reported
//! at once, and its bytes are skipped. So the client that sent it gets an error, and its connection goes on.

#[cfg(feature = "server")]
mod back;

use std::sync::Arc;

use bytes::Bytes;

use crate::account::{Account, Charge, Full, Share, charged};
use crate::count::count_of;
use crate::limits::FRAME_BYTES_MAX;
use crate::proto::Fault;
#[cfg(feature = "server")]
use crate::wire::frame::FrameKind;
use crate::wire::frame::{HEAD_BYTES, Head};
use crate::wire::kept;

/// The least growth of a frame in separate memory, in bytes.
const GROWTH_BYTES_MIN: usize = 256 << 10;

/// The bytes that are read together with the head of a frame that may be long.
const FIRST_BYTES_OF_LONG: usize = 4 << 10;

/// After a long frame, this many short ones are expected to be followed by another long one: a client that stores and fetches
/// long values sends long and short frames in turn, and so does its server.
const SHORT_BETWEEN_LONG_MAX: u8 = 8;

/// Bytes are not copied if they are at least one in this many of the memory that they lie in.
#[cfg(feature = "server")]
const KEPT_PART_MIN: usize = 4;

/// A notice of up to this many bytes is kept even if there is no memory. It may release a lock.
#[cfg(feature = "server")]
pub(crate) const NOTICE_BYTES_KEPT: usize = 256;
/// So many bytes of notices are kept without memory for them, if the first of them has to wait: 16 KiB. A client that has sent more
/// loses its connection, because none of them may be lost.
#[cfg(feature = "server")]
pub(crate) const NOTICES_BYTES_KEPT: usize = 16 << 10;

/// Why the rest of a stream cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Garbage {
    /// The bytes are not the head of a frame.
    NoHead,
    /// The body is longer than a frame may be.
    TooLong,
    /// There is no memory for the bytes.
    NoMemory,
}

/// A complete frame, or one that cannot be completed.
#[derive(Debug)]
pub(crate) enum Frame<'a> {
    /// A frame in the shared buffer.
    Short(Head, &'a [u8]),
    /// A frame in separate memory.
    Long(Head, Bytes),
    /// A frame for which there is no memory. The rest of it is skipped.
    Refused(Head, Fault),
}

/// What became of bytes that were to be kept.
#[cfg(feature = "server")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// They are kept.
    Kept,
    /// They were the beginning of a frame for which there is no memory. The rest of it is skipped.
    Refused(Head, Fault),
    /// They begin with a complete frame, and there is no memory for them. They are not kept, so the frame has to be run or
    /// refused now.
    NoRoom(Fault),
}

/// The received bytes of a connection that are not a complete frame yet.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    /// The beginning of a frame that fits into the shared buffer.
    #[cfg(feature = "server")]
    rest: Bytes,
    /// A long frame that was put back.
    #[cfg(feature = "server")]
    back: Option<(Head, Bytes)>,
    /// A long frame.
    long: Option<Long>,
    /// While this is not 0, the next frame may be long. It falls with each short one.
    long_lately: u8,
    /// How many bytes of a refused frame are still to come.
    skipped: usize,
    /// How many bytes of kept frames come before those.
    before_skipped: usize,
    /// The account of unfinished frames; clients have none.
    account: Option<Arc<Account>>,
    /// The share of the client at a server, after the handshake.
    share: Option<Share>,
}

/// A long frame.
#[derive(Debug)]
struct Long {
    head: Head,
    body: Vec<u8>,
    charge: Option<Charge>,
    /// What is charged to the client's share.
    of_share: Option<Charge>,
}

impl Inbound {
    /// Makes one whose unfinished frames are charged to an account.
    #[cfg(feature = "server")]
    pub(crate) fn within(account: &Arc<Account>) -> Self {
        Self { account: Some(Arc::clone(account)), ..Self::default() }
    }

    /// Charges what is kept from now on to the share of a client, too.
    #[cfg(feature = "server")]
    pub(crate) fn belongs_to(&mut self, share: Share) {
        self.share = Some(share);
    }

    /// Checks whether a frame with a body of this length may begin.
    fn check(&self, len: usize) -> Result<(), Full> {
        if let Some(account) = &self.account {
            account.check(len)?;
        }
        self.share.as_ref().map_or(Ok(()), |share| share.check_bulk(0, len))
    }

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
        self.skip(bytes);
        #[cfg(feature = "server")]
        if let Some((head, body)) = self.back.take() {
            return Ok(Some(Frame::Long(head, body)));
        }
        if let Some(long) = self.long.take() {
            return self.collect(long, bytes);
        }
        let Some((first, behind)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let head = Head::of(first).ok_or(Garbage::NoHead)?;
        let len = body_len(head);
        if len > FRAME_BYTES_MAX {
            return Err(Garbage::TooLong);
        }
        if let Some((body, rest)) = behind.split_at_checked(len) {
            *bytes = rest;
            self.long_lately = self.long_lately.saturating_sub(1);
            self.before_skipped = self.before_skipped.saturating_sub(HEAD_BYTES.saturating_add(len));
            return Ok(Some(Frame::Short(head, body)));
        }
        if len.saturating_add(HEAD_BYTES) <= buffer_len {
            return Ok(None);
        }
        *bytes = behind;
        if let Err(full) = self.check(len) {
            let (head, fault) = self.refuse(head, full, len, bytes);
            return Ok(Some(Frame::Refused(head, fault)));
        }
        let charge = self.account.as_ref().map(|account| account.charge(0));
        let of_share = self.share.as_ref().map(|share| share.charge_bulk(0));
        let body = if self.account.is_some() { Vec::new() } else { kept::buffer_for(len) };
        self.collect(Long { head, body, charge, of_share }, bytes)
    }

    /// Moves bytes into a long frame, and returns it once it is complete.
    fn collect<'a>(&mut self, mut long: Long, bytes: &mut &'a [u8]) -> Result<Option<Frame<'a>>, Garbage> {
        let len = body_len(long.head);
        let missing = len.saturating_sub(long.body.len());
        let (more, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
        let spare = long.body.capacity().saturating_sub(long.body.len());
        if spare < more.len() {
            // The memory at least doubles, so that each byte is moved a bounded number of times, but never exceeds the
            // length.
            let growth = long.body.len().max(GROWTH_BYTES_MIN).max(more.len()).min(missing);
            let new = growth.saturating_sub(spare);
            let fits = self.account.as_ref().map_or(Ok(()), |account| account.check(new));
            if let Err(full) = fits {
                let (head, fault) = self.refuse(long.head, full, missing, bytes);
                return Ok(Some(Frame::Refused(head, fault)));
            }
            long.body.try_reserve_exact(growth).map_err(|_| Garbage::NoMemory)?;
            for charge in [&mut long.charge, &mut long.of_share].into_iter().flatten() {
                charge.set(long.body.capacity());
            }
        }
        long.body.extend_from_slice(more);
        *bytes = rest;
        if long.body.len() < len {
            self.long = Some(long);
            return Ok(None);
        }
        self.long_lately = SHORT_BETWEEN_LONG_MAX;
        let Long { head, body, charge, .. } = long;
        let body = match charge {
            Some(charge) => charged(body, charge.into_whole()),
            None => kept::lent(body),
        };
        Ok(Some(Frame::Long(head, body)))
    }

    /// Refuses a frame of which this many bytes are missing, and skips them.
    fn refuse(&mut self, head: Head, full: Full, missing: usize, bytes: &mut &[u8]) -> (Head, Fault) {
        self.skipped = missing;
        self.skip(bytes);
        let limit = self.account.as_ref().map_or(FRAME_BYTES_MAX, |account| account.limit());
        let fault =
            if body_len(head) > limit { Fault::TooLarge { limit: count_of(limit) } } else { full.into() };
        (head, fault)
    }

    /// Skips bytes of a refused frame.
    fn skip(&mut self, bytes: &mut &[u8]) {
        if self.before_skipped > 0 {
            return;
        }
        let (skipped, rest) = bytes.split_at_checked(self.skipped).unwrap_or((bytes, &[]));
        self.skipped = self.skipped.saturating_sub(skipped.len());
        *bytes = rest;
    }

    /// Returns how much of the shared buffer the next read should use, which follows `kept` earlier bytes. After a long
    /// frame that is little, since the body of the next one is better read to where it stays.
    pub(crate) const fn share_of(&self, buffer_len: usize, kept: usize) -> usize {
        if self.long_lately > 0 && kept == 0 && buffer_len > FIRST_BYTES_OF_LONG {
            FIRST_BYTES_OF_LONG
        } else {
            buffer_len
        }
    }

    /// Returns the memory of a long frame under way, and how many bytes to read to there at most, so that they are not
    /// copied. Afterwards, [`next`](Self::next) returns the frame if it is complete. Returns `None` if no such frame is
    /// under way, or if it has no memory for more yet.
    pub(crate) fn room_of_long(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let Long { head, body, .. } = self.long.as_mut()?;
        // Memory is reserved where bytes are collected. There may be more than the frame needs.
        let room = body.capacity().min(body_len(*head)).saturating_sub(body.len());
        (room > 0).then_some((body, room))
    }

    /// Keeps bytes for the next turn: the frames that were not run, and the beginning of an incomplete one. If they are
    /// a large part of `memory`, they are not copied. If there is no memory for an incomplete frame, it is refused. A short
    /// notice is always kept: nobody could be told that it is lost.
    ///
    /// # Errors
    /// [`Garbage`].
    #[cfg(feature = "server")]
    pub(crate) fn keep(&mut self, mut bytes: &[u8], memory: &Bytes) -> Result<Keeping, Garbage> {
        if bytes.is_empty() {
            return Ok(Keeping::Kept);
        }
        let lie_inside = memory.as_ptr_range().contains(&bytes.as_ptr());
        if lie_inside && bytes.len() >= memory.len() / KEPT_PART_MIN {
            self.rest = memory.slice_ref(bytes);
            return Ok(Keeping::Kept);
        }
        let Some(account) = &self.account else {
            self.rest = Bytes::copy_from_slice(bytes);
            return Ok(Keeping::Kept);
        };
        // The account of long frames may be full, and short ones must still get through. The beginning of a head is
        // always kept.
        let account = account.whole();
        if bytes.len() > HEAD_BYTES
            && let Err(full) = account.check_reserve(bytes.len())
        {
            let head = bytes.split_first_chunk::<HEAD_BYTES>().and_then(|(head, _)| Head::of(head));
            let head = head.ok_or(Garbage::NoHead)?;
            let missing = body_len(head).saturating_add(HEAD_BYTES);
            if missing <= bytes.len() {
                return Ok(Keeping::NoRoom(full.into()));
            }
            if head.kind != FrameKind::Notice || missing > NOTICE_BYTES_KEPT {
                let (head, fault) = self.refuse(head, full, missing, &mut bytes);
                return Ok(Keeping::Refused(head, fault));
            }
        }
        self.keep_again(bytes);
        Ok(Keeping::Kept)
    }

    /// Keeps bytes that were kept before, and of which nothing was run.
    #[cfg(feature = "server")]
    pub(crate) fn keep_again(&mut self, bytes: &[u8]) {
        self.rest = match &self.account {
            _ if bytes.is_empty() => Bytes::new(),
            Some(account) => {
                let of_share = self.share.as_ref().map(|share| share.charge_bulk(bytes.len()));
                charged(bytes.to_vec(), (account.whole().charge(bytes.len()), of_share))
            }
            None => Bytes::copy_from_slice(bytes),
        };
    }

    /// Keeps a notice that has to wait although there is no memory, and the notices `behind` it, in their order: nobody could be
    /// told that one is lost. Returns the heads of the calls among them, which are not kept.
    ///
    /// # Errors
    /// [`Garbage`]; [`Garbage::NoMemory`] above [`NOTICES_BYTES_KEPT`].
    #[cfg(feature = "server")]
    pub(crate) fn keep_notices(&mut self, first: &[u8], mut behind: &[u8]) -> Result<Vec<Head>, Garbage> {
        let (mut kept, mut refused) = (first.to_vec(), Vec::new());
        while let Some((head, _)) = behind.split_first_chunk::<HEAD_BYTES>() {
            let head = Head::of(head).ok_or(Garbage::NoHead)?;
            if body_len(head) > FRAME_BYTES_MAX {
                return Err(Garbage::TooLong);
            }
            let len = body_len(head).saturating_add(HEAD_BYTES);
            let is_notice = head.kind == FrameKind::Notice;
            match behind.split_at_checked(len) {
                Some((notice, rest)) if is_notice => {
                    kept.extend_from_slice(notice);
                    behind = rest;
                }
                Some((_, rest)) => {
                    refused.push(head);
                    behind = rest;
                }
                None if is_notice && len <= NOTICE_BYTES_KEPT => break,
                None => {
                    refused.push(head);
                    self.skipped = len.saturating_sub(behind.len());
                    self.before_skipped = kept.len();
                    behind = &[];
                }
            }
        }
        kept.extend_from_slice(behind);
        if kept.len() > NOTICES_BYTES_KEPT {
            return Err(Garbage::NoMemory);
        }
        self.keep_again(&kept);
        Ok(refused)
    }

    /// Returns `true` if the stream is between two frames, so that its end would cut none.
    #[cfg(feature = "server")]
    pub(crate) fn is_between_frames(&self) -> bool {
        self.rest.is_empty() && self.back.is_none() && self.long.is_none() && self.skipped == 0
    }
}

fn body_len(head: Head) -> usize {
    usize::try_from(head.body_len).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;

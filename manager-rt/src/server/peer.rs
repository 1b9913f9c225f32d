//! One connection of the server.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use mp_sys::OsError;
use mp_sys::deadline::now_nanos;
use mp_sys::handshake::Listening;
use mp_sys::stream::{ReadFailure, WriteFailure};

use crate::account::{Account, Charge, Share};
use crate::limits::{UNSENT_BYTES_LEAST, UNSENT_BYTES_MAX};
use crate::proto::report::ClientOrigin;
use crate::server::crowd::NewestTurn;
use crate::state::ClientId;
use crate::transport::Channel;
use crate::wire::inbound::Inbound;
use crate::wire::outbound::Outbound;

/// A connection in the handshake, in bytes: itself, the state of the handshake, its messages, and what the allocator adds.
pub(super) const HANDSHAKE_BYTES: usize = size_of::<Peer>() + size_of::<Listening>() + 512;

/// The state of a connection.
#[derive(Debug)]
pub(super) enum Phase {
    /// The peer is in the handshake.
    Proving(Box<Listening>),
    /// The peer is a client.
    Live(ClientId),
    /// The peer claims this bequest, which has not been made yet: the notice of that comes over another connection.
    Claiming(u128),
    /// The processes that hold the other side have the references of this bequest. They send nothing more.
    Heirs(ClientId),
}

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// This many bytes were read.
    Bytes(usize),
    /// There is nothing to read now.
    Nothing,
    /// The client is gone, and has read everything that was written.
    End,
    /// The client is gone, and has not read everything.
    Reset,
}

/// In the middle of a pipeline, answers of fewer bytes wait for those of the next turn.
const WRITTEN_TOGETHER_BYTES: usize = 8 << 10;
/// For this long, in nanoseconds: other threads of the client may wait for them.
const WITHHELD_NANOS_MAX: u64 = 500_000;

/// How many times a connection between hosts writes, 64 KiB each, before others have their turn.
const SEALED_WRITES_MAX: usize = 2;

/// The accounts that a connection is charged to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accounts<'a> {
    /// Unfinished frames.
    pub(super) frames: &'a Arc<Account>,
    /// Unread answers.
    pub(super) answers: &'a Arc<Account>,
    /// Incomplete records of streams between hosts.
    pub(super) sealed: &'a Arc<Account>,
}

/// What a stream between hosts is charged for.
#[derive(Debug)]
struct Sealed {
    /// Itself.
    _own: Charge,
    /// What it keeps for records.
    records: Charge,
    /// The same, in the share of the client.
    of_share: Option<Charge>,
    /// How many records were complete when that was charged, and since when it has been as many.
    newest: (u64, u64),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Peer {
    stream: Channel,
    number: RawFd,
    pub(super) phase: Phase,
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound,
    /// What is charged for a connection in the handshake. For a client, its record pays.
    pub(super) handshake: Option<Charge>,
    /// What is charged for a stream between hosts.
    sealed: Option<Sealed>,
    /// Whether it is in the list of connections that have something to write.
    pub(super) is_dirty: bool,
    /// Whether it is in the list of connections that may have more to read.
    pub(super) is_ready: bool,
    /// Whether the socket had no room. The system reports when it has.
    pub(super) awaits_room: bool,
    /// Whether the newest write was ended although the socket had room.
    pub(super) is_cut_short: bool,
    /// Whether frames were left because too many answers are unread.
    pub(super) is_paused: bool,
    /// Whether frames were left because the time of the turn was over. Nothing is read before they are run.
    pub(super) is_late: bool,
    /// Whether a call waits until everything that has arrived is done. Nothing is read before that.
    pub(super) is_unsettled: bool,
    /// Since when answers have waited for those of a later turn.
    withheld_since: Option<u64>,
    /// Its newest turn.
    pub(super) newest: NewestTurn,
    /// How the connection ended, if its end was read. Frames may be left.
    pub(super) ended: Option<Read>,
    /// Whether the other side no longer reads.
    pub(super) cannot_write: bool,
    /// The round in which the other side was seen to have closed. No further event reports the end.
    pub(super) hung_up_in: Option<u64>,
    pub(super) generation_of_keys: u32,
}

impl Peer {
    /// Sets up a new connection.
    ///
    /// # Errors
    /// None at present: only the server has the connection.
    pub(super) fn new(
        stream: Channel,
        side: Listening,
        Accounts { frames, answers, sealed }: Accounts<'_>,
    ) -> Result<Self, OsError> {
        let number = stream.file().map_err(|_| OsError::from(rustix::io::Errno::BADF))?.as_raw_fd();
        let own = stream.kept().own;
        let sealed = (own > 0).then(|| Sealed {
            _own: sealed.whole().charge(own),
            records: sealed.charge(0),
            of_share: None,
            newest: (0, 0),
        });
        Ok(Self {
            stream,
            number,
            phase: Phase::Proving(Box::new(side)),
            inbound: Inbound::within(frames),
            outbound: Outbound::within(answers),
            handshake: None,
            sealed,
            is_dirty: false,
            is_ready: false,
            awaits_room: false,
            is_cut_short: false,
            is_paused: false,
            is_late: false,
            is_unsettled: false,
            withheld_since: None,
            newest: NewestTurn::default(),
            ended: None,
            cannot_write: false,
            hung_up_in: None,
            generation_of_keys: 0,
        })
    }

    /// Makes a client of the peer.
    pub(super) fn belongs_to(&mut self, client: ClientId, share: Share) {
        self.phase = Phase::Live(client);
        self.handshake = None;
        if let Some(sealed) = &mut self.sealed {
            sealed.of_share = Some(share.charge_bulk(sealed.records.bytes()));
        }
        self.inbound.belongs_to(share.clone());
        self.outbound.belongs_to(share);
    }

    /// Charges what the stream keeps, if it is one between hosts, after something was read or written.
    pub(super) fn charge_sealed(&mut self) {
        let Some(sealed) = &mut self.sealed else { return };
        let kept = self.stream.kept();
        if kept.records != sealed.newest.0 {
            sealed.newest = (kept.records, now_nanos());
        }
        if kept.bytes != sealed.records.bytes() {
            sealed.records.set(kept.bytes);
            if let Some(of_share) = &mut sealed.of_share {
                of_share.set(kept.bytes);
            }
        }
    }

    /// Returns since when the stream has completed no record, if it keeps memory for an incomplete one.
    pub(super) fn incomplete_since(&self) -> Option<u64> {
        let sealed = self.sealed.as_ref().filter(|sealed| sealed.records.bytes() > 0)?;
        Some(sealed.newest.1)
    }

    /// Returns the number of the descriptor, for the event loop.
    pub(super) const fn number(&self) -> RawFd {
        self.number
    }

    pub(super) const fn client(&self) -> Option<ClientId> {
        match self.phase {
            Phase::Live(client) | Phase::Heirs(client) => Some(client),
            Phase::Proving(_) | Phase::Claiming(_) => None,
        }
    }

    /// Returns `true` if so many answers are unread that no more calls of the client are run. A client that no longer
    /// reads is still read to its end.
    pub(super) fn is_too_far_behind(&self) -> bool {
        !self.cannot_write && self.outbound.len() > self.unsent_max()
    }

    /// Returns where the other side is.
    pub(super) fn origin(&self) -> ClientOrigin {
        self.stream.origin()
    }

    /// Returns `true` if the other side is on this host.
    pub(super) fn is_near(&self) -> bool {
        self.stream.is_near()
    }

    /// Returns `true` if the other side has not proved anything, and may be anybody on a network.
    pub(super) fn is_stranger(&self) -> bool {
        self.stream.is_of_stranger()
    }

    /// Returns `true` if the other side is on another host.
    pub(super) fn is_remote(&self) -> bool {
        self.stream.is_remote()
    }

    /// Returns the number of the key that the other side has proved to have, among the accepted ones.
    pub(super) fn key_number(&self) -> usize {
        self.stream.key_number()
    }

    /// Returns how many bytes of answers may be unread before no more calls of the client are run.
    fn unsent_max(&self) -> usize {
        if self.outbound.is_under_pressure() { UNSENT_BYTES_LEAST } else { UNSENT_BYTES_MAX }
    }

    /// Reads the available bytes.
    #[inline]
    pub(super) fn read(&self, into: &mut [u8]) -> Read {
        self.outcome(self.stream.try_read(into))
    }

    /// Reads available bytes of a long frame to where it stays, and returns whether they fill the room there. Returns
    /// `None` if no such frame is under way.
    pub(super) fn read_long(&mut self) -> Option<(Read, bool)> {
        let (body, room) = self.inbound.room_of_long()?;
        let before = body.len();
        let outcome = self.stream.try_read_more(body, room);
        let may_leave = outcome.is_ok_and(|count| self.stream.may_leave(count));
        let is_filled = body.len().saturating_sub(before) == room || may_leave;
        Some((self.outcome(outcome), is_filled))
    }

    fn outcome(&self, read: Result<usize, ReadFailure>) -> Read {
        match read {
            Ok(0) => Read::End,
            Ok(len) => Read::Bytes(len),
            Err(ReadFailure::Empty) => Read::Nothing,
            Err(ReadFailure::Reset) => Read::Reset,
            Err(error) if self.stream.is_remote() => {
                tracing::debug!(?error, "a connection to another host has ended");
                Read::Reset
            }
            Err(error) => {
                tracing::warn!(?error, "a connection can no longer be read");
                Read::End
            }
        }
    }

    /// Returns `true` if the next bytes can be read and answered without regard to earlier ones.
    pub(super) fn is_between_turns(&self) -> bool {
        matches!(self.phase, Phase::Live(_))
            && !self.is_ready
            && !self.is_paused
            && !self.is_late
            && !self.is_unsettled
            && self.hung_up_in.is_none()
            && self.inbound.is_between_frames()
            && self.outbound.len() <= self.unsent_max()
    }

    /// Returns `true` if the connection will have another turn at once, whose answers are better written together with those
    /// that wait at the moment `now`. A client that is woken for a few answers takes a CPU from others.
    pub(super) fn may_write_later(&mut self, now: u64) -> bool {
        self.is_late
            && self.is_ready
            && !self.is_paused
            && self.hung_up_in.is_none()
            && self.outbound.len() < WRITTEN_TOGETHER_BYTES
            && now.saturating_sub(*self.withheld_since.get_or_insert(now)) < WITHHELD_NANOS_MAX
    }

    /// Writes what the socket accepts, and returns `true` once nothing is left.
    pub(super) fn flush(&mut self) -> bool {
        self.withheld_since = None;
        if self.cannot_write {
            return true;
        }
        let stream = &self.stream;
        // The kernel takes what is not sealed in no time, but sealing takes time that others wait.
        let mut writes_left = if stream.is_remote() { SEALED_WRITES_MAX } else { usize::MAX };
        let is_cut_short = &mut self.is_cut_short;
        let flushed = self.outbound.flush(|slices| {
            let Some(left) = writes_left.checked_sub(1) else {
                *is_cut_short = true;
                return Ok(None);
            };
            writes_left = left;
            // A single slice is the usual case, and is cheaper to write by itself.
            let written = match slices {
                [only] => stream.try_write(only),
                several => stream.try_write_vectored(several),
            };
            match written {
                Ok(len) => Ok(Some(len)),
                Err(WriteFailure::Full) => Ok(None),
                Err(other) => Err(other),
            }
        });
        flushed.unwrap_or_else(|error| {
            // The client's last bytes can still be read. The end follows them.
            tracing::debug!(?error, "a client no longer reads");
            self.cannot_write = true;
            true
        })
    }

    /// Returns the numbers of the first answer that nobody has of a client which is gone, apart from those that it said to have
    /// read, and of the first one that it may not have read.
    pub(super) fn first_unread(&self, was_reset: bool) -> (u64, u64) {
        let unwritten = self.outbound.first_unwritten();
        if self.stream.is_remote() {
            // As on one host, but what the client's kernel has not acknowledged may have come too late.
            let has_arrived = !was_reset && self.stream.unread() == Ok(0);
            return (unwritten, if has_arrived { unwritten } else { 0 });
        }
        if !was_reset {
            return (unwritten, unwritten);
        }
        if self.outbound.is_said_what_was_read() {
            // Whoever has the items of an answer said so before this one was written that was left.
            return (0, 0);
        }
        // The last written answer is the last to be read, so some of it was left. Nothing tells how much else was.
        let is_whole = self.outbound.is_between_answers();
        (if is_whole { unwritten.saturating_sub(1) } else { unwritten }, 0)
    }
}

#[cfg(test)]
mod tests;

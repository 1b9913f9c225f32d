//! One connection of the server.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use mp_sys::OsError;
use mp_sys::handshake::Listening;
use mp_sys::stream::{ReadFailure, Stream, WriteFailure};

use crate::limits::UNSENT_BYTES_MAX;
use crate::server::inbound::Inbound;
use crate::server::outbound::Outbound;
use crate::state::ClientId;

/// How far a connection is.
#[derive(Debug)]
pub(super) enum Phase {
    /// It has to prove itself.
    Proving(Box<Listening>),
    /// It is a client.
    Live(ClientId),
}

/// What a read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// This many bytes.
    Bytes(usize),
    /// There is nothing now.
    Nothing,
    /// The client is gone. It has read all that was written.
    End,
    /// The client is gone, and did not read all.
    Reset,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Peer {
    stream: Stream,
    number: RawFd,
    pub(super) phase: Phase,
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound,
    /// It waits in the list of those that have something to be written.
    pub(super) is_dirty: bool,
    /// It waits in the list of those that may have more to be read.
    pub(super) is_ready: bool,
    /// The socket had no room: the system tells when there is.
    pub(super) awaits_room: bool,
    /// Frames were left alone because too many answers are unread.
    pub(super) is_paused: bool,
    /// A call waits until everything that has arrived is done. Nothing is read before.
    pub(super) is_unsettled: bool,
    /// The other side does not read any more.
    pub(super) cannot_write: bool,
    /// The other side has closed: the end comes behind what is there, and no further event tells of it.
    pub(super) has_hung_up: bool,
}

impl Peer {
    /// Takes a fresh connection.
    ///
    /// # Errors
    /// As the system has it.
    pub(super) fn new(file: OwnedFd, side: Listening) -> Result<Self, OsError> {
        let number = file.as_raw_fd();
        Ok(Self {
            stream: Stream::inherited(file)?,
            number,
            phase: Phase::Proving(Box::new(side)),
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            is_dirty: false,
            is_ready: false,
            awaits_room: false,
            is_paused: false,
            is_unsettled: false,
            cannot_write: false,
            has_hung_up: false,
        })
    }

    /// The number of the descriptor, for the event loop.
    pub(super) const fn number(&self) -> RawFd {
        self.number
    }

    pub(super) const fn client(&self) -> Option<ClientId> {
        match self.phase {
            Phase::Live(client) => Some(client),
            Phase::Proving(_) => None,
        }
    }

    /// Whether so much waits to be read by the client that nothing more is done for it. One that does not read any more is
    /// read to its end.
    pub(super) fn is_too_far_behind(&self) -> bool {
        !self.cannot_write && self.outbound.len() > UNSENT_BYTES_MAX
    }

    /// Reads what is there.
    #[inline]
    pub(super) fn read(&self, into: &mut [u8]) -> Read {
        match self.stream.try_read(into) {
            Ok(0) => Read::End,
            Ok(len) => Read::Bytes(len),
            Err(ReadFailure::Empty) => Read::Nothing,
            Err(ReadFailure::Reset) => Read::Reset,
            Err(error) => {
                tracing::warn!(?error, "a connection cannot be read any more");
                Read::End
            }
        }
    }

    /// Whether the next bytes can be read without a look at what came before, and answered.
    pub(super) fn is_between_turns(&self) -> bool {
        matches!(self.phase, Phase::Live(_))
            && !self.is_ready
            && !self.is_paused
            && !self.is_unsettled
            && !self.has_hung_up
            && self.inbound.is_between_frames()
            && self.outbound.len() <= UNSENT_BYTES_MAX
    }

    /// Writes what the socket takes; `true` once nothing is left.
    pub(super) fn flush(&mut self) -> bool {
        if self.cannot_write {
            return true;
        }
        let stream = &self.stream;
        let flushed = self.outbound.flush(|slices| {
            // One slice is the usual case, and cheaper by itself.
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
            // Its last words can still be read; the end comes behind them.
            tracing::debug!(?error, "a client does not read any more");
            self.cannot_write = true;
            true
        })
    }

    /// The number of the first answer that the client surely has not read, once it is gone.
    pub(super) fn first_unread(&self, was_reset: bool) -> u64 {
        let unwritten = self.outbound.first_unwritten();
        // The last thing that was written is the last that is read: some of it was left.
        if was_reset && self.outbound.is_between_answers() { unwritten.saturating_sub(1) } else { unwritten }
    }
}

//! A connected stream, whatever connects its two sides.

#[cfg(feature = "server")]
use std::io::IoSlice;
use std::os::fd::BorrowedFd;
#[cfg(feature = "server")]
use std::os::fd::OwnedFd;

#[cfg(feature = "server")]
use mp_sys::OsError;
use mp_sys::deadline::Deadline;
use mp_sys::stream::{AskFailure, Interest, OtherProcess, ReadFailure, Ready, Stream, WriteFailure};

/// A connected stream. It has the rules of [`Stream`], and these two:
///
/// - what was read from the kernel may be kept here, so [`has_more`](Self::has_more) is asked before anybody sleeps;
/// - after a write that did not take all bytes, the next write begins with those that it did not take.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: Stream,
}

impl From<Stream> for Channel {
    /// Connects two processes of one host, in clear.
    fn from(stream: Stream) -> Self {
        Self { stream }
    }
}

impl Channel {
    /// Takes a stream to a process of this host that a listener accepted.
    ///
    /// # Errors
    /// As for [`Stream::inherited`].
    #[cfg(feature = "server")]
    pub(crate) fn accepted(file: OwnedFd) -> Result<Self, OsError> {
        Ok(Stream::inherited(file)?.into())
    }

    /// Returns `true` if the other side may be on another host. Then the end of the stream says nothing about what the
    /// other side has read.
    pub(crate) fn is_remote(&self) -> bool {
        false
    }

    /// See [`Stream::unread`]. Between hosts, it is what the kernel of the other side has not acknowledged.
    #[cfg(feature = "server")]
    pub(crate) fn unread(&self) -> Result<usize, AskFailure> {
        self.stream.unread()
    }

    /// See [`Stream::file`].
    #[inline]
    pub(crate) fn file(&self) -> Result<BorrowedFd<'_>, OtherProcess> {
        self.stream.file()
    }

    /// Returns `true` if a read would return something without a look at the socket.
    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        false
    }

    /// See [`Stream::try_read`].
    #[inline]
    pub(crate) fn try_read(&self, into: &mut [u8]) -> Result<usize, ReadFailure> {
        self.stream.try_read(into)
    }

    /// See [`Stream::try_read_more`].
    #[inline]
    pub(crate) fn try_read_more(&self, into: &mut Vec<u8>) -> Result<usize, ReadFailure> {
        self.stream.try_read_more(into)
    }

    /// See [`Stream::read_slice`].
    #[inline]
    pub(crate) fn read_slice(&self, into: &mut [u8]) -> Result<usize, ReadFailure> {
        self.stream.read_slice(into)
    }

    /// See [`Stream::try_write`].
    #[inline]
    pub(crate) fn try_write(&self, bytes: &[u8]) -> Result<usize, WriteFailure> {
        self.stream.try_write(bytes)
    }

    /// See [`Stream::try_write_vectored`].
    #[cfg(feature = "server")]
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> Result<usize, WriteFailure> {
        self.stream.try_write_vectored(slices)
    }

    /// See [`Stream::ready`].
    #[inline]
    pub(crate) fn ready(&self, interest: Interest, deadline: Deadline) -> Result<Ready, AskFailure> {
        if self.has_more() && interest != Interest::Write {
            return Ok(Ready { read: true, write: false });
        }
        self.stream.ready(interest, deadline)
    }
}

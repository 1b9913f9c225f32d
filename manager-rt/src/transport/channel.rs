//! A connected stream, whatever connects its two sides.

use std::io::IoSlice;
#[cfg(feature = "server")]
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
#[cfg(feature = "server")]
use std::os::fd::OwnedFd;

#[cfg(feature = "server")]
use mp_sys::OsError;
use mp_sys::deadline::Deadline;
#[cfg(feature = "server")]
use mp_sys::stream::peer_process;
use mp_sys::stream::{AskFailure, Interest, OtherProcess, ReadFailure, Ready, Stream, WriteFailure};

#[cfg(feature = "server")]
use rustix::net::getpeername;

#[cfg(feature = "tcp")]
use super::remote::Remote;
#[cfg(feature = "server")]
use crate::proto::report::ClientOrigin;

/// A connected stream. It has the rules of [`Stream`], and these two:
///
/// - what was read from the kernel may be kept here, so [`has_more`](Self::has_more) is asked before anybody sleeps;
/// - after a write that did not take all bytes, the next write begins with those that it did not take.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: Stream,
    #[cfg(feature = "tcp")]
    remote: Option<Box<Remote>>,
}

/// What a stream between hosts keeps.
#[cfg(feature = "server")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// What it always takes in addition to a stream on one host, in bytes.
    pub(crate) own: usize,
    /// The memory for records that are incomplete, or that nobody has taken, in bytes.
    pub(crate) bytes: usize,
    /// How many records were received or sent so far.
    pub(crate) records: u64,
}

impl From<Stream> for Channel {
    /// Connects two processes of one host, in clear.
    fn from(stream: Stream) -> Self {
        Self {
            stream,
            #[cfg(feature = "tcp")]
            remote: None,
        }
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

    /// Takes a stream between two hosts.
    #[cfg(feature = "tcp")]
    pub(crate) fn between_hosts(stream: Stream, remote: Remote) -> Self {
        Self { stream, remote: Some(Box::new(remote)) }
    }

    /// Returns `true` if the other side is on this host, so that the numbers of its CPUs mean something here. It is not
    /// known to be if it uses another address than this side.
    pub(crate) fn is_near(&self) -> bool {
        #[cfg(feature = "tcp")]
        return self.remote.as_ref().is_none_or(|remote| remote.is_near());
        #[cfg(not(feature = "tcp"))]
        true
    }

    /// Returns `true` if the other side may be on another host. Then the end of the stream says nothing about what the
    /// other side has read.
    pub(crate) fn is_remote(&self) -> bool {
        #[cfg(feature = "tcp")]
        return self.remote.is_some();
        #[cfg(not(feature = "tcp"))]
        false
    }

    /// Returns where the other side is, as far as the kernel knows.
    #[cfg(feature = "server")]
    pub(crate) fn origin(&self) -> ClientOrigin {
        let Ok(file) = self.stream.file() else { return ClientOrigin::default() };
        if self.is_remote() {
            let address =
                getpeername(file).ok().flatten().and_then(|address| SocketAddr::try_from(address).ok());
            return ClientOrigin {
                address: address.map(|address| address.to_string()),
                ..Default::default()
            };
        }
        let pid = peer_process(file).ok().and_then(|peer| peer.pid);
        ClientOrigin { pid, program: pid.and_then(program_of), address: None }
    }

    /// Returns what the stream keeps in addition to one on one host.
    #[cfg(feature = "server")]
    pub(crate) fn kept(&self) -> Kept {
        #[cfg(feature = "tcp")]
        if let Some(remote) = &self.remote {
            let (bytes, records) = remote.kept();
            return Kept { own: super::remote::REMOTE_BYTES, bytes, records };
        }
        Kept::default()
    }

    /// Seals bytes without sending them.
    #[cfg(test)]
    #[cfg(feature = "tcp")]
    pub(crate) fn sealed_only(&self, record: &[u8]) -> Vec<u8> {
        self.remote.as_ref().unwrap().sealed_only(record)
    }

    /// Returns the number of the key that the other side has: 0 for the first one of the accepted keys.
    #[cfg(feature = "server")]
    pub(crate) fn key_number(&self) -> usize {
        #[cfg(feature = "tcp")]
        return self.remote.as_ref().map_or(0, |remote| remote.key_number());
        #[cfg(not(feature = "tcp"))]
        0
    }

    /// Returns `true` if the other side may be on another host, and has not proved that it has the key.
    #[cfg(feature = "server")]
    pub(crate) fn is_of_stranger(&self) -> bool {
        #[cfg(feature = "tcp")]
        return self.remote.as_ref().is_some_and(|remote| !remote.is_sealed());
        #[cfg(not(feature = "tcp"))]
        false
    }

    /// Returns `true` if [`try_read_more`](Self::try_read_more), which appended this many bytes, may have left some.
    #[cfg(feature = "server")]
    pub(crate) fn may_leave(&self, count: usize) -> bool {
        #[cfg(feature = "tcp")]
        return self.remote.is_some() && count >= super::remote::READ_MORE_BYTES_MAX;
        #[cfg(not(feature = "tcp"))]
        {
            let _ = count;
            false
        }
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
        #[cfg(feature = "tcp")]
        return self.remote.as_ref().is_some_and(|remote| remote.has_more());
        #[cfg(not(feature = "tcp"))]
        false
    }

    /// See [`Stream::try_read`].
    #[inline]
    pub(crate) fn try_read(&self, into: &mut [u8]) -> Result<usize, ReadFailure> {
        #[cfg(feature = "tcp")]
        if let Some(remote) = &self.remote {
            return remote.read(&self.stream, into, false);
        }
        self.stream.try_read(into)
    }

    /// See [`Stream::try_read_more`].
    #[inline]
    pub(crate) fn try_read_more(&self, into: &mut Vec<u8>, max: usize) -> Result<usize, ReadFailure> {
        #[cfg(feature = "tcp")]
        if let Some(remote) = &self.remote {
            return remote.read_more(&self.stream, into, max);
        }
        self.stream.try_read_more(into, max)
    }

    /// See [`Stream::read_slice`].
    #[inline]
    pub(crate) fn read_slice(&self, into: &mut [u8]) -> Result<usize, ReadFailure> {
        #[cfg(feature = "tcp")]
        if let Some(remote) = &self.remote {
            return remote.read(&self.stream, into, true);
        }
        self.stream.read_slice(into)
    }

    /// See [`Stream::try_write`].
    #[inline]
    pub(crate) fn try_write(&self, bytes: &[u8]) -> Result<usize, WriteFailure> {
        #[cfg(feature = "tcp")]
        if let Some(remote) = &self.remote {
            return remote.write(&self.stream, &[IoSlice::new(bytes)]);
        }
        self.stream.try_write(bytes)
    }

    /// See [`Stream::try_write_vectored`].
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> Result<usize, WriteFailure> {
        #[cfg(feature = "tcp")]
        if let Some(remote) = &self.remote {
            return remote.write(&self.stream, slices);
        }
        self.stream.try_write_vectored(slices)
    }

    /// See [`Stream::ready`].
    #[inline]
    pub(crate) fn ready(&self, interest: Interest, deadline: Deadline) -> Result<Ready, AskFailure> {
        if interest != Interest::Write && self.has_more() {
            return Ok(Ready { read: true, write: false });
        }
        self.stream.ready(interest, deadline)
    }
}

/// Returns the name of a process, as the kernel knows it: 15 bytes at most, which may be any.
#[cfg(feature = "server")]
fn program_of(pid: u32) -> Option<String> {
    let mut name = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
    name.pop_if(|last| *last == b'\n');
    Some(String::from_utf8_lossy(&name).into_owned())
}

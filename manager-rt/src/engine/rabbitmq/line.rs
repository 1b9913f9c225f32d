//! [`Line`]: a call's socket to the keeper, at the side of the program.
//!
//! A call of a thread and a call of an async task do the same, and only wait in another way: see [`Pace`].

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
#[cfg(feature = "tokio")]
use std::time::Duration;

#[cfg(feature = "tokio")]
use mp_sys::asynchronous::{Attempt, BothWays, RuntimeError};
use mp_sys::deadline::Deadline;
use mp_sys::descriptors::beside_standard;
use mp_sys::fork::Epoch;
#[cfg(feature = "tokio")]
use mp_sys::ready::is_readable;
use mp_sys::ready::readable_later;
use mp_sys::stream::{Interest, ReadFailure, Stream, WriteFailure};
use rustix::net::{Shutdown, shutdown};

use super::frame::{Answer, Ask, HEAD_BYTES_MAX, LENGTHS_BYTES, Numbered, lengths, lengths_of};
use crate::OsError;
use crate::backend::CallError;

/// How a call waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Its thread sleeps. The future of such a call is ready when it is polled first: see [`now`].
    Blocks,
    /// Its task lets others run.
    #[cfg(feature = "tokio")]
    Yields,
}

/// One socket. After an error it is of no use any more.
#[derive(Debug)]
pub(super) struct Line {
    stream: Stream,
    number: u64,
    made_in: Epoch,
    #[cfg(feature = "tokio")]
    watched: BothWays,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The keeper has not received the whole question.
    NotSent,
    /// The keeper has received it.
    NoAnswer,
    /// The item is longer than a frame may be.
    TooLong,
    /// A task cannot wait here.
    #[cfg(feature = "tokio")]
    Runtime(RuntimeError),
}

/// Runs a future that never has to wait, because its calls block.
///
/// # Errors
/// [`CallError::Protocol`] if it has to. None does.
pub(super) fn now<T>(future: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(CallError::Protocol),
    }
}

impl Line {
    /// Makes a socket, and returns the other end, for the keeper.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`.
    pub(super) fn new() -> Result<(Self, OwnedFd), OsError> {
        let (own, other) = beside_standard(UnixStream::pair)?;
        let (own, other) = (OwnedFd::from(own), OwnedFd::from(other));
        let line = Self {
            stream: Stream::inherited(own)?,
            number: 0,
            made_in: Epoch::current(),
            #[cfg(feature = "tokio")]
            watched: BothWays::new(),
        };
        Ok((line, other))
    }

    /// Returns `true` if the keeper still has the other end.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.stream.try_read(&mut [0]), Err(ReadFailure::Empty))
    }

    /// Asks something, and returns the answer with the items in it.
    ///
    /// # Errors
    /// [`Broken`]; [`Broken::Runtime`] before anything was sent.
    pub(super) async fn ask(
        &mut self,
        ask: &Ask,
        items: &[u8],
        deadline: Deadline,
        pace: Pace,
    ) -> Result<(Answer, Vec<u8>), Broken> {
        #[cfg(feature = "tokio")]
        if pace == Pace::Yields {
            let file = self.stream.file().map_err(|_| Broken::NotSent)?;
            self.watched.readable.register(file).map_err(Broken::Runtime)?;
        }
        self.tell(ask, items, deadline, pace).await?;
        self.hear(deadline, pace).await
    }

    /// Sends something.
    ///
    /// # Errors
    /// [`Broken`].
    pub(super) async fn tell(
        &mut self,
        ask: &Ask,
        items: &[u8],
        deadline: Deadline,
        pace: Pace,
    ) -> Result<(), Broken> {
        self.number = self.number.wrapping_add(1);
        let numbered = Numbered { number: self.number, body: ask };
        let head = postcard::to_stdvec(&numbered).map_err(|_| Broken::TooLong)?;
        if head.len() > HEAD_BYTES_MAX || items.len() > crate::limits::FRAME_BYTES_MAX {
            return Err(Broken::TooLong);
        }
        let lengths = lengths(head.len(), items.len()).ok_or(Broken::TooLong)?;
        let mut begin = Vec::with_capacity(LENGTHS_BYTES.saturating_add(head.len()));
        begin.extend_from_slice(&lengths);
        begin.extend_from_slice(&head);
        self.write(&begin, items, deadline, pace).await
    }

    async fn write(
        &self,
        mut begin: &[u8],
        mut items: &[u8],
        deadline: Deadline,
        pace: Pace,
    ) -> Result<(), Broken> {
        while !begin.is_empty() || !items.is_empty() {
            match self.stream.try_write_vectored(&[IoSlice::new(begin), IoSlice::new(items)]) {
                Ok(count) => {
                    let of_begin = count.min(begin.len());
                    begin = begin.get(of_begin..).unwrap_or_default();
                    items = items.get(count.saturating_sub(of_begin)..).unwrap_or_default();
                }
                Err(WriteFailure::Full) if !deadline.has_passed() => {
                    self.until(Interest::Write, deadline, pace).await.ok_or(Broken::NotSent)?;
                }
                Err(_) => return Err(Broken::NotSent),
            }
        }
        Ok(())
    }

    /// Waits for the answer to the last question, or for the next frame of it.
    ///
    /// # Errors
    /// [`Broken::NoAnswer`].
    pub(super) async fn hear(&self, deadline: Deadline, pace: Pace) -> Result<(Answer, Vec<u8>), Broken> {
        let mut lengths = [0; LENGTHS_BYTES];
        self.fill(&mut lengths, deadline, pace).await?;
        let (head, items) = lengths_of(lengths).ok_or(Broken::NoAnswer)?;
        let (mut head, mut items) = (vec![0; head], vec![0; items]);
        self.fill(&mut head, deadline, pace).await?;
        self.fill(&mut items, deadline, pace).await?;
        match postcard::from_bytes::<Numbered<Answer>>(&head) {
            Ok(answer) if answer.number == self.number => Ok((answer.body, items)),
            _ => Err(Broken::NoAnswer),
        }
    }

    async fn fill(&self, mut place: &mut [u8], deadline: Deadline, pace: Pace) -> Result<(), Broken> {
        while !place.is_empty() {
            match self.stream.try_read(place) {
                Ok(0) => return Err(Broken::NoAnswer),
                Ok(count) => place = place.get_mut(count..).unwrap_or_default(),
                Err(ReadFailure::Empty) if !deadline.has_passed() => {
                    self.until(Interest::Read, deadline, pace).await.ok_or(Broken::NoAnswer)?;
                }
                Err(_) => return Err(Broken::NoAnswer),
            }
        }
        Ok(())
    }

    /// Waits until something can be read or written, or until the deadline. Returns `None` if that cannot be found out.
    async fn until(&self, interest: Interest, deadline: Deadline, pace: Pace) -> Option<()> {
        let file = self.stream.file().ok()?;
        match pace {
            Pace::Blocks if interest == Interest::Read => readable_later(&[file], deadline).ok().map(drop),
            Pace::Blocks => self.stream.ready(interest, deadline).ok().map(drop),
            #[cfg(feature = "tokio")]
            Pace::Yields => {
                let is_read = interest == Interest::Read;
                let watched = if is_read { &self.watched.readable } else { &self.watched.writable };
                let is_ready = || if is_read { is_readable(file) } else { self.may_write() };
                let attempt = || {
                    if is_ready() || deadline.has_passed() { Attempt::Done(()) } else { Attempt::Later }
                };
                watched.attempt(file, attempt).await.ok()
            }
        }
    }

    #[cfg(feature = "tokio")]
    fn may_write(&self) -> bool {
        self.stream.ready(Interest::Write, Deadline::after(Duration::ZERO)).is_ok_and(|ready| ready.write)
    }
}

impl Drop for Line {
    /// Tells the keeper even if a forked child has a copy of the socket.
    fn drop(&mut self) {
        // The end of a copy is not that of its parent's call.
        if let Ok(file) = self.stream.file()
            && self.made_in.is_current()
        {
            let told = shutdown(file, Shutdown::Both);
            tracing::trace!(?told, "a call was given up, or the keeper is not needed any more");
        }
    }
}

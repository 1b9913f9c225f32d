//! Streams between hosts: TCP, with the Noise protocol on top.
//!
//! | module | what it does |
//! |---|---|
//! | `noise` | the keys, the handshake and the sealing of records, without a socket |
//! | `sealed` | a stream of sealed records over a socket |
//! | `names` | looking up the name of a host within a time |
//! | `tcp` | listening, accepting, and connecting |

mod names;
mod noise;
pub(crate) mod sealed;
pub(crate) mod tcp;
#[cfg(test)]
mod tests;

use std::io::IoSlice;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use mp_sys::deadline::Deadline;
use mp_sys::stream::{Interest, ReadFailure, Stream, WriteFailure};
use rustix::io::Errno;

use self::noise::{HELLO_BYTES, Initiator, answer};
pub(crate) use self::noise::{SharedKey, TooShort};
pub(crate) use self::sealed::Scratch;
use self::sealed::Sealed;
use crate::transport::OpenError;

/// What is between a stream between two hosts and its callers.
#[derive(Debug)]
pub(crate) struct Remote {
    /// What seals the stream, once both sides have proved that they have the key.
    sealed: OnceLock<Sealed>,
    /// The number of that key.
    key: OnceLock<usize>,
    accepting: Option<Mutex<Accepting>>,
    /// Whether both sides have one address, or the address of the loopback.
    is_near: bool,
}

/// What the side that accepts needs for the handshake.
#[derive(Debug)]
struct Accepting {
    keys: Arc<[SharedKey]>,
    scratch: Arc<Scratch>,
    hello: [u8; HELLO_BYTES],
    /// How much of the first message has arrived.
    heard: usize,
}

/// What a stream between two hosts takes in addition to one on one host, in bytes, apart from records: itself, and the keys of
/// both directions.
#[cfg(feature = "server")]
pub(crate) const REMOTE_BYTES: usize = size_of::<Remote>() + 512;

/// The most bytes that [`Remote::read_more`] appends at once. If it appends as many, there may be more.
pub(crate) const READ_MORE_BYTES_MAX: usize = 64 << 10;

/// Returns the error of a peer that does not have the key.
fn refused() -> ReadFailure {
    ReadFailure::System(Errno::ACCESS.into())
}

impl Remote {
    /// Prepares a stream that was accepted. The handshake happens during the first reads.
    #[cfg(feature = "server")]
    pub(crate) fn accepting(stream: &Stream, keys: Arc<[SharedKey]>, scratch: Arc<Scratch>) -> Self {
        let accepting = Accepting { keys, scratch, hello: [0; HELLO_BYTES], heard: 0 };
        let (sealed, key, accepting) = (OnceLock::new(), OnceLock::new(), Some(Mutex::new(accepting)));
        Self { sealed, key, accepting, is_near: tcp::is_near(stream) }
    }

    /// Runs the handshake of the side that has connected.
    ///
    /// # Errors
    /// [`OpenError::Rejected`], [`OpenError::TimedOut`], [`OpenError::System`].
    pub(crate) fn connected(stream: &Stream, key: &SharedKey, deadline: Deadline) -> Result<Self, OpenError> {
        let (initiator, hello) = Initiator::new(key).map_err(|_| OpenError::System(Errno::IO.into()))?;
        match stream.try_write(&hello) {
            Ok(HELLO_BYTES) => {}
            // A new socket has room for it.
            Ok(_) | Err(WriteFailure::Full) => return Err(OpenError::System(Errno::NOBUFS.into())),
            Err(WriteFailure::System(error)) => return Err(OpenError::System(error)),
            Err(_) => return Err(OpenError::Rejected),
        }
        let mut answer = [0; HELLO_BYTES];
        let mut heard = 0_usize;
        while let Some(room) = answer.get_mut(heard..).filter(|room| !room.is_empty()) {
            match stream.try_read(room) {
                Ok(count @ 1..) => heard = heard.saturating_add(count),
                Err(ReadFailure::Empty) if deadline.has_passed() => return Err(OpenError::TimedOut),
                // If there is an error, the next read returns it.
                Err(ReadFailure::Empty) => drop(stream.ready(Interest::Read, deadline)),
                Err(ReadFailure::System(error)) => return Err(OpenError::System(error)),
                Err(ReadFailure::Reset) => return Err(OpenError::Closed),
                // A server that does not know the key says nothing.
                Ok(_) | Err(_) => return Err(OpenError::Rejected),
            }
        }
        let cipher = initiator.finish(&answer).map_err(|_| OpenError::Rejected)?;
        let sealed = OnceLock::from(Sealed::new(cipher, Scratch::new()));
        Ok(Self { sealed, key: OnceLock::new(), accepting: None, is_near: tcp::is_near(stream) })
    }

    #[cfg(feature = "server")]
    pub(super) fn key_number(&self) -> usize {
        self.key.get().copied().unwrap_or(0)
    }

    #[cfg(any(test, feature = "server"))]
    pub(super) fn is_sealed(&self) -> bool {
        self.sealed.get().is_some()
    }

    /// See [`Sealed::kept`].
    #[cfg(feature = "server")]
    pub(super) fn kept(&self) -> (usize, u64) {
        self.sealed.get().map_or((0, 0), Sealed::kept)
    }

    #[cfg(test)]
    pub(super) fn sealed_only(&self, record: &[u8]) -> Vec<u8> {
        self.sealed.get().unwrap().sealed_only(record)
    }

    pub(super) const fn is_near(&self) -> bool {
        self.is_near
    }

    pub(super) fn has_more(&self) -> bool {
        self.sealed.get().is_some_and(Sealed::has_opened)
    }

    /// Reads what is there. If it `waits`, it waits up to a slice for something.
    pub(super) fn read(&self, stream: &Stream, into: &mut [u8], waits: bool) -> Result<usize, ReadFailure> {
        match self.sealed.get() {
            Some(sealed) => sealed.read(stream, into, waits),
            None => match self.accept(stream)? {
                Some(ended) => Ok(ended),
                None => self
                    .sealed
                    .get()
                    .map_or_else(|| Err(refused()), |sealed| sealed.read(stream, into, false)),
            },
        }
    }

    pub(super) fn read_more(
        &self,
        stream: &Stream,
        into: &mut Vec<u8>,
        max: usize,
    ) -> Result<usize, ReadFailure> {
        let len = into.len();
        let step = into.capacity().saturating_sub(len).min(max).min(READ_MORE_BYTES_MAX);
        into.resize(len.saturating_add(step), 0);
        let outcome = self.read(stream, into.get_mut(len..).unwrap_or_default(), false);
        into.truncate(len.saturating_add(*outcome.as_ref().unwrap_or(&0)));
        outcome
    }

    pub(super) fn write(&self, stream: &Stream, slices: &[IoSlice<'_>]) -> Result<usize, WriteFailure> {
        match self.sealed.get() {
            Some(sealed) => sealed.write(stream, slices),
            // Nobody has anything to say to a peer that has not proved that it has the key.
            None => Err(WriteFailure::Full),
        }
    }

    /// Takes what has arrived of the first message, and answers it. Returns `Some(0)` at the end of the stream.
    fn accept(&self, stream: &Stream) -> Result<Option<usize>, ReadFailure> {
        let Some(accepting) = &self.accepting else { return Err(refused()) };
        let mut accepting = accepting.lock().unwrap_or_else(PoisonError::into_inner);
        // The end may have come with the last bytes, and no event would report it again.
        while accepting.heard < HELLO_BYTES {
            let heard = accepting.heard;
            let count = stream.try_read(accepting.hello.get_mut(heard..).unwrap_or_default())?;
            if count == 0 {
                return Ok(Some(0));
            }
            accepting.heard = heard.saturating_add(count);
        }
        let (number, answer, cipher) = answer(&accepting.keys, &accepting.hello).map_err(|_| refused())?;
        // A new socket has room for it.
        if stream.try_write(&answer).ok() != Some(HELLO_BYTES) {
            return Err(refused());
        }
        let sealed = Sealed::new(cipher, Arc::clone(&accepting.scratch));
        // Only this call sets them, under the lock.
        let is_set = self.key.set(number).is_ok() && self.sealed.set(sealed).is_ok();
        if is_set { Ok(None) } else { Err(refused()) }
    }
}

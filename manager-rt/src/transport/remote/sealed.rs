//! A stream of sealed records over a socket.
//!
//! The bytes on the socket are, after one message of the handshake from each side, records: two bytes with the length of what
//! follows, in little endian, and the sealed record. The records of each direction are numbered from 0, so none can be
//! left out, repeated or moved.
//!
//! Reading and writing keep the rules of `mp_sys::stream::Stream`, with which the callers share their code:
//!
//! - A read that does not fill its buffer has taken everything that the kernel had. So an event loop that is told only of
//!   changes need not look again.
//! - A write returns how many bytes the caller need not write again. A record is sealed when the socket has room, and may
//!   then be sent in part. Of such a record, the last byte counts as unwritten until all of it is sent. So the caller knows
//!   that there is something left to write. It must write the same bytes again, from there on.

#[cfg(feature = "server")]
pub(crate) mod fuzz;

use std::io::IoSlice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mp_sys::handshake::STEP_BYTES_MAX;
use mp_sys::stream::{ReadFailure, Stream, WriteFailure};
use rustix::io::Errno;

use super::noise::{Cipher, Forged, SEALED_BYTES_MAX, TAG_BYTES};
use crate::limits::RECORD_BYTES_MAX;

/// The length of a record's length, in bytes.
const LENGTH_BYTES: usize = 2;
/// The longest record on the socket, in bytes.
const SENT_BYTES_MAX: usize = LENGTH_BYTES + SEALED_BYTES_MAX;
/// The most bytes that one read takes from the kernel.
const READ_BYTES_MAX: usize = 64 << 10;
/// The least bytes that one read takes from the kernel, however little room the caller has.
const READ_BYTES_MIN: usize = 4 << 10;
/// The most bytes that one write accepts.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// The error of a stream that somebody changed. No later byte of it can be trusted.
const FORGED: Errno = Errno::BADMSG;

/// Memory for the time of one read or write. All connections of a server share it.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Received bytes, of which the first may be left from an earlier read. A reader that waits keeps it locked.
    received: Mutex<Vec<u8>>,
    /// The record that is about to be sealed, and the same, sealed.
    sealing: Mutex<(Vec<u8>, Vec<u8>)>,
}

impl Scratch {
    /// Makes the memory.
    pub(crate) fn new() -> Arc<Self> {
        let received = Mutex::new(vec![0; SENT_BYTES_MAX + READ_BYTES_MAX]);
        let sealing = Mutex::new((Vec::with_capacity(RECORD_BYTES_MAX), vec![0; SENT_BYTES_MAX]));
        Arc::new(Self { received, sealing })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is left of received bytes.
#[derive(Debug, Default)]
struct Opener {
    /// The number of the next record.
    number: u64,
    /// The beginning of a record whose rest has not arrived.
    unfinished: Vec<u8>,
    /// Opened bytes for which the caller had no room, and how many of them it has by now.
    opened: Vec<u8>,
    taken: usize,
    /// Whether the stream was changed on its way.
    is_forged: bool,
}

/// What is left of bytes to send.
#[derive(Debug, Default)]
struct Sealer {
    /// The number of the next record.
    number: u64,
    /// The rest of a record that was sent in part.
    rest: Vec<u8>,
    /// How many bytes of that record the caller will write again: 0 or 1.
    owed: usize,
}

/// The two directions of a sealed stream.
#[derive(Debug)]
pub(super) struct Sealed {
    cipher: Cipher,
    opener: Mutex<Opener>,
    sealer: Mutex<Sealer>,
    scratch: Arc<Scratch>,
}

impl Sealed {
    pub(super) fn new(cipher: Cipher, scratch: Arc<Scratch>) -> Self {
        Self { cipher, opener: Mutex::default(), sealer: Mutex::default(), scratch }
    }

    /// Returns `true` if a read would return something without a look at the socket.
    pub(super) fn has_opened(&self) -> bool {
        let opener = locked(&self.opener);
        opener.taken < opener.opened.len()
    }

    /// Returns how many bytes of memory it keeps for records that are incomplete, or that nobody has taken, and how many
    /// records it has received and sent.
    #[cfg(feature = "server")]
    pub(super) fn kept(&self) -> (usize, u64) {
        let (opener, sealer) = (locked(&self.opener), locked(&self.sealer));
        let received = opener.unfinished.capacity().saturating_add(opener.opened.capacity());
        (received.saturating_add(sealer.rest.capacity()), opener.number.saturating_add(sealer.number))
    }

    /// Seals bytes as a record without sending it, for a test that sends a part of it.
    #[cfg(test)]
    pub(super) fn sealed_only(&self, record: &[u8]) -> Vec<u8> {
        let mut sealer = locked(&self.sealer);
        let mut sealed = vec![0; SENT_BYTES_MAX];
        let (length, place) = sealed.split_first_chunk_mut::<LENGTH_BYTES>().unwrap();
        let count = self.cipher.seal(sealer.number, record, place).unwrap();
        *length = u16::try_from(count).unwrap().to_le_bytes();
        sealer.number += 1;
        sealed.truncate(LENGTH_BYTES + count);
        sealed
    }

    /// Reads what is there, at most as much as fits into `into`. If it `waits`, it waits up to a slice for something.
    ///
    /// # Errors
    /// [`ReadFailure`]; `EBADMSG` if the stream was changed on its way.
    pub(super) fn read(&self, stream: &Stream, into: &mut [u8], waits: bool) -> Result<usize, ReadFailure> {
        if into.is_empty() {
            return Err(ReadFailure::System(Errno::INVAL.into()));
        }
        let mut opener = locked(&self.opener);
        let mut filled = opener.take(into);
        let mut received = locked(&self.scratch.received);
        while filled < into.len() {
            let kept = std::mem::take(&mut opener.unfinished);
            // More than the caller has room for would have to be kept.
            let share = into.len().saturating_sub(filled).clamp(READ_BYTES_MIN, READ_BYTES_MAX);
            let end = kept.len().saturating_add(share);
            let (Some(front), false) = (received.get_mut(..kept.len()), opener.is_forged) else {
                return Err(ReadFailure::System(FORGED.into()));
            };
            front.copy_from_slice(&kept);
            let room = received.get_mut(kept.len()..end).unwrap_or_default();
            let outcome = if waits && filled == 0 { stream.read_slice(room) } else { stream.try_read(room) };
            let read = match outcome {
                Ok(0) | Err(_) if filled > 0 => {
                    opener.unfinished = kept;
                    return Ok(filled);
                }
                // Somebody cut the stream, or the other side was killed in the middle of a record.
                Ok(0) if !kept.is_empty() => return Err(ReadFailure::Reset),
                Ok(0) => return Ok(0),
                Err(failure) => {
                    opener.unfinished = kept;
                    return Err(failure);
                }
                Ok(read) => read,
            };
            let is_drained = read < room.len();
            let bytes = received.get(..kept.len().saturating_add(read)).unwrap_or_default();
            let rest = into.get_mut(filled..).unwrap_or_default();
            match opener.open(&self.cipher, bytes, rest) {
                Ok(opened) => filled = filled.saturating_add(opened),
                Err(Forged) => {
                    *opener = Opener { is_forged: true, ..Opener::default() };
                    return Err(ReadFailure::System(FORGED.into()));
                }
            }
            // If nothing is complete, the end may have come with the last bytes, and no event would report it again.
            if is_drained && filled > 0 {
                break;
            }
        }
        if filled == 0 { Err(ReadFailure::Empty) } else { Ok(filled) }
    }

    /// Writes as many of the bytes as there is room for: see the module's rules.
    ///
    /// # Errors
    /// [`WriteFailure`]; nothing was written.
    pub(super) fn write(&self, stream: &Stream, slices: &[IoSlice<'_>]) -> Result<usize, WriteFailure> {
        let mut sealer = locked(&self.sealer);
        let (record, sealed) = &mut *locked(&self.scratch.sealing);
        let mut written = 0;
        while written < WRITE_BYTES_MAX {
            let step = match sealer.rest.is_empty() {
                false => sealer.send_rest(stream),
                true => {
                    gather(slices, written, record_bytes_max(sealer.number), record);
                    if record.is_empty() {
                        break;
                    }
                    sealer.send(&self.cipher, stream, record, sealed)
                }
            };
            match step {
                Ok((count, is_whole)) => {
                    written = written.saturating_add(count);
                    if !is_whole {
                        break;
                    }
                }
                Err(_) if written > 0 => break,
                Err(failure) => return Err(failure),
            }
        }
        if written == 0 { Err(WriteFailure::Full) } else { Ok(written) }
    }
}

impl Opener {
    /// Moves opened bytes into the caller's memory, and returns how many.
    fn take(&mut self, into: &mut [u8]) -> usize {
        let left = self.opened.get(self.taken..).unwrap_or_default();
        let count = left.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..count), left.get(..count)) {
            to.copy_from_slice(from);
        }
        self.taken = self.taken.saturating_add(count);
        if self.taken == self.opened.len() {
            // An idle connection keeps no memory.
            (self.opened, self.taken) = (Vec::new(), 0);
        }
        count
    }

    /// Opens all complete records of these bytes, fills the caller's memory, and keeps the rest.
    fn open(&mut self, cipher: &Cipher, mut bytes: &[u8], into: &mut [u8]) -> Result<usize, Forged> {
        let mut filled = 0_usize;
        while let Some((length, behind)) = bytes.split_first_chunk::<LENGTH_BYTES>() {
            let length = usize::from(u16::from_le_bytes(*length));
            // A record without contents would be a way to keep the reader busy with nothing.
            let longest = record_bytes_max(self.number).saturating_add(TAG_BYTES);
            if length <= TAG_BYTES || length > longest {
                return Err(Forged);
            }
            let Some((sealed, behind)) = behind.split_at_checked(length) else { break };
            let plain = length.saturating_sub(TAG_BYTES);
            let room = into.get_mut(filled..).unwrap_or_default();
            if room.len() >= plain {
                filled = filled.saturating_add(cipher.open(self.number, sealed, room)?);
            } else {
                let start = self.opened.len();
                self.opened.resize(start.saturating_add(plain), 0);
                let place = self.opened.get_mut(start..).unwrap_or_default();
                cipher.open(self.number, sealed, place)?;
                filled = filled.saturating_add(self.take(room));
            }
            self.number = self.number.wrapping_add(1);
            bytes = behind;
        }
        self.unfinished = bytes.to_vec();
        Ok(filled)
    }
}

impl Sealer {
    /// Sends the rest of a record, and returns how many bytes the caller need not write again, and whether all of the
    /// record is sent.
    fn send_rest(&mut self, stream: &Stream) -> Result<(usize, bool), WriteFailure> {
        let sent = stream.try_write(&self.rest)?;
        if sent < self.rest.len() {
            self.rest.drain(..sent);
            return Ok((0, false));
        }
        self.rest = Vec::new();
        Ok((std::mem::take(&mut self.owed), true))
    }

    /// Seals a record, and sends it as far as the socket accepts.
    fn send(
        &mut self,
        cipher: &Cipher,
        stream: &Stream,
        record: &[u8],
        sealed: &mut [u8],
    ) -> Result<(usize, bool), WriteFailure> {
        let bad = |Forged| WriteFailure::System(FORGED.into());
        let (length, place) = sealed.split_first_chunk_mut::<LENGTH_BYTES>().ok_or(Forged).map_err(bad)?;
        let count = cipher.seal(self.number, record, place).map_err(bad)?;
        *length = u16::try_from(count).map_err(|_| bad(Forged))?.to_le_bytes();
        let bytes = sealed.get(..LENGTH_BYTES.saturating_add(count)).unwrap_or_default();
        // If nothing was sent, nobody has seen the record, and its number is used again.
        let sent = stream.try_write(bytes)?;
        if sent == 0 {
            return Ok((0, false));
        }
        self.number = self.number.wrapping_add(1);
        if sent == bytes.len() {
            return Ok((record.len(), true));
        }
        self.rest = bytes.get(sent..).unwrap_or_default().to_vec();
        self.owed = 1;
        Ok((record.len().saturating_sub(1), false))
    }
}

/// Returns the most bytes that the record with this number contains. The first one is a step of the managers' handshake.
/// Somebody who plays back a recorded handshake gets that far, and must not make the other side keep more.
const fn record_bytes_max(number: u64) -> usize {
    if number == 0 { STEP_BYTES_MAX } else { RECORD_BYTES_MAX }
}

/// Returns `true` if a first record that contains this many bytes is waited for.
#[cfg(test)]
pub(super) fn takes_first_record_of(len: usize) -> bool {
    record_bytes_max(0) >= len && record_bytes_max(1) == RECORD_BYTES_MAX
}

/// Collects at most `most` bytes of a record: what follows the first `skip` bytes of the slices.
fn gather(slices: &[IoSlice<'_>], mut skip: usize, most: usize, record: &mut Vec<u8>) {
    record.clear();
    for slice in slices {
        let Some(bytes) = slice.get(skip..) else {
            skip = skip.saturating_sub(slice.len());
            continue;
        };
        skip = 0;
        let room = most.saturating_sub(record.len());
        record.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        if record.len() == most {
            break;
        }
    }
}

//! Bytes that do not fit into a packet: a sealed file in memory, whose descriptor travels instead.
//!
//! The sender fills the file, seals it, and sends it. So a message stays whole or absent whichever process is killed,
//! and a slow reader does not delay the sender. The receiver checks that the file cannot be truncated before it trusts
//! the length. It copies the bytes once, by read(2), before anything looks at them: if a peer changes bytes meanwhile,
//! it could as well have sent the changed ones.
//!
//! So the file need not be sealed against every write. `F_SEAL_WRITE` must not be used: the kernel refuses it with
//! `EBUSY` while it holds one of the pages itself (one in some thousand long messages, after much memory was freed).
//! `F_SEAL_FUTURE_WRITE` needs no page. None of the seals that are set here can be refused momentarily.
//!
//! Source: memfd_create(2), fcntl(2) F_ADD_SEALS; mm/memfd.c, `memfd_wait_for_pins`.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::buffer::spare_capacity;
use rustix::fs::{SealFlags, fcntl_add_seals, fcntl_get_seals, fstat};
use rustix::io::{Errno, pread};

use crate::memory::{MemoryError, make_memfd, reserve};
use crate::{OsError, budget};

/// Why the bytes of a payload cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayloadError {
    /// The descriptor is not a file in memory that is sealed against truncation.
    NotSealed,
    /// It has more bytes than the caller accepts.
    TooLarge {
        /// Bytes in the file.
        found: u64,
    },
    /// There is no memory for the bytes.
    Memory(MemoryError),
}

/// Writes the bytes of all parts into a file in memory that no process can truncate, lengthen or write any more.
/// (Before Linux 5.1, a process that has it can write.)
///
/// # Errors
/// [`MemoryError`]; nothing is left behind.
pub fn seal(parts: &[&[u8]]) -> Result<OwnedFd, MemoryError> {
    let file = make_memfd()?;
    // The bytes count while the file is filled. After that they belong to the message, whichever process has it.
    let _claim = reserve(file.as_fd(), parts.iter().map(|part| part.len()).sum())?;
    let mut file = File::from(file);
    for part in parts {
        file.write_all(part).map_err(|error| MemoryError::System(error.into()))?;
    }
    let needed = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    match fcntl_add_seals(&file, needed | SealFlags::FUTURE_WRITE) {
        // The seal is unknown before Linux 5.1.
        Err(Errno::INVAL) => fcntl_add_seals(&file, needed)?,
        result => result?,
    }
    Ok(file.into())
}

/// Returns the number of bytes in a file that a peer sent as the bytes of a message.
///
/// # Errors
/// Those of [`Payload::open`].
pub fn check(file: BorrowedFd<'_>, limit: usize) -> Result<u64, PayloadError> {
    // EINVAL means that it is not a file in memory. Reading a file in memory never blocks.
    let seals = fcntl_get_seals(file).map_err(|_| PayloadError::NotSealed)?;
    if !seals.contains(SealFlags::SHRINK) {
        return Err(PayloadError::NotSealed);
    }
    let stat = fstat(file).map_err(|_| PayloadError::NotSealed)?;
    let len = u64::try_from(stat.st_size).unwrap_or(0);
    if usize::try_from(len).is_ok_and(|len| len <= limit) {
        return Ok(len);
    }
    Err(PayloadError::TooLarge { found: len })
}

/// A sealed file that arrived.
#[derive(Debug)]
pub struct Payload {
    file: File,
    len: u64,
}

impl Payload {
    /// Checks a descriptor that a peer sent as the bytes of a message.
    ///
    /// # Errors
    /// [`PayloadError::NotSealed`]; [`PayloadError::TooLarge`] for more than `limit` bytes.
    pub fn open(file: OwnedFd, limit: usize) -> Result<Self, PayloadError> {
        let len = check(file.as_fd(), limit)?;
        Ok(Self { file: file.into(), len })
    }

    /// The number of bytes in the payload.
    #[must_use]
    pub fn len(&self) -> usize {
        // `open` checked it against a `usize`.
        usize::try_from(self.len).unwrap_or(usize::MAX)
    }

    /// Whether the payload has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads all bytes.
    ///
    /// # Errors
    /// [`PayloadError::Memory`] if this process cannot have that much memory.
    pub fn read(self) -> Result<Vec<u8>, PayloadError> {
        let mut bytes = Vec::new();
        let no_space = |_| MemoryError::NoSpace { wanted: self.len, available: budget::available(0) };
        bytes.try_reserve_exact(self.len()).map_err(no_space).map_err(PayloadError::Memory)?;
        // Reads without the position of the file: the sender left it at the end, and all receivers of a forwarded
        // message share it.
        while bytes.len() < self.len() {
            let at = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            match pread(&self.file, spare_capacity(&mut bytes), at) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(system(error.into())),
            }
        }
        // A file that is not sealed against growing may have grown.
        bytes.truncate(self.len());
        Ok(bytes)
    }

    /// Copies all bytes to the start of `into`, as far as they fit.
    ///
    /// # Errors
    /// Those of pread(2).
    pub fn read_into(&self, into: &mut [u8]) -> Result<(), PayloadError> {
        let room = into.len().min(self.len());
        let Some(into) = into.get_mut(..room) else { return Ok(()) };
        self.file.read_exact_at(into, 0).map_err(system)
    }
}

fn system(error: io::Error) -> PayloadError {
    PayloadError::Memory(MemoryError::System(OsError::from(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_cannot_be_changed() {
        let file = seal(&[b"pay", b"load"]).unwrap();
        let again = file.try_clone().unwrap();
        assert!(File::from(again.try_clone().unwrap()).write_all_at(b"x", 0).is_err());
        let payload = Payload::open(file, 7).unwrap();
        let mut start = [0; 3];
        payload.read_into(&mut start).unwrap();
        assert_eq!(&start, b"pay");
        assert_eq!(payload.read().unwrap(), b"payload");
        assert_eq!(Payload::open(again, 6).unwrap_err(), PayloadError::TooLarge { found: 7 });
        assert!(Payload::open(seal(&[]).unwrap(), 0).unwrap().is_empty());
    }

    #[test]
    fn a_file_that_a_peer_could_still_truncate_is_refused() {
        let file = make_memfd().unwrap();
        fcntl_add_seals(&file, SealFlags::GROW).unwrap();
        assert_eq!(Payload::open(file, 9).unwrap_err(), PayloadError::NotSealed);
        assert_eq!(Payload::open(make_memfd().unwrap(), 9).unwrap_err(), PayloadError::NotSealed);
        let (pipe, _other) = rustix::pipe::pipe().unwrap();
        assert_eq!(Payload::open(pipe, 9).unwrap_err(), PayloadError::NotSealed);
    }

    #[test]
    fn a_peers_writes_do_not_change_the_length() {
        let file = make_memfd().unwrap();
        fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
        let peers = File::from(file.try_clone().unwrap());
        peers.write_all_at(b"four", 0).unwrap();
        let payload = Payload::open(file, 4).unwrap();
        peers.write_all_at(b"longer", 0).unwrap();
        assert_eq!(payload.len(), 4);
        assert_eq!(payload.read().unwrap(), b"long");
    }
}

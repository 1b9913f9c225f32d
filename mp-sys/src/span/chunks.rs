//! The chunks that this process has mapped, by their files.
//!
//! A lock must be used through one address in a process. So a chunk is mapped once, however often it arrives, whichever
//! process made it, and even if it was inherited. The kernel, and not the message, decides which file a descriptor
//! refers to. The random id in the chunk distinguishes two files whose numbers are equal by an accident of the kernel's
//! counter.

use std::collections::HashMap;
use std::mem::size_of;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use rustix::fs::{SealFlags, Stat, fcntl_get_seals, fstat};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::fork::PerProcess;
use crate::memory::{
    MAPPING_BYTES_MAX, Mapping, MemoryError, fcntl_add_seals, length_u64, make_memfd, may_be_as_long,
    not_sealed,
};
use crate::quiet::{Note, tell};
use crate::span::SPAN_ALIGN;
use crate::span::directory::Directory;
use crate::{OsError, budget};

/// The chunks by device and inode, with the id. A child starts with its parent's, because it has all of those mappings.
static CHUNKS: PerProcess<Chunks> = PerProcess::inherited();

type Chunks = HashMap<(u64, u64), ([u64; 2], Weak<Mapping>)>;

/// Why a descriptor is not accepted as a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoChunk {
    /// It is not a sealed file in memory with the header of a chunk of this build.
    Foreign,
    /// It cannot be mapped.
    Memory(MemoryError),
}

/// Makes the mapping of a chunk of `bytes` bytes in total, and writes its header.
pub(crate) fn make(directory: Directory, bytes: usize) -> Result<Arc<Mapping>, MemoryError> {
    let file = make_memfd()?;
    let mapping = Mapping::reserve_in(file, bytes)?;
    // The kernel has no sealing. Only processes that receive the file can reach it, but none will accept it from a
    // message.
    if let Err(error) = fcntl_add_seals(mapping.as_fd(), SealFlags::SHRINK | SealFlags::GROW) {
        tell(Note::Refused(not_sealed, error.into()));
    }
    finish(directory, mapping)
}

/// Makes a mapping as [`make`] does, with memory for the first page only: see [`pages`](super::pages).
pub(crate) fn make_sparse(directory: Directory, bytes: usize) -> Result<Arc<Mapping>, MemoryError> {
    let wanted = length_u64(bytes);
    may_be_as_long(wanted)?;
    // The memory that is taken piece by piece is requested here, all at once: a request costs as much as making a
    // thousand objects.
    let available = budget::available_to_claimed(0, 0);
    if wanted > available {
        return Err(MemoryError::NoSpace { wanted, available });
    }
    directory.words.store(1, Ordering::Relaxed);
    let mapping = Mapping::sparse(wanted, 0)?;
    mapping.extend(0, rustix::param::page_size())?;
    finish(directory, mapping)
}

fn finish(directory: Directory, mut mapping: Arc<Mapping>) -> Result<Arc<Mapping>, MemoryError> {
    let id = random_id();
    directory.write(&mapping, id);
    if let Some(mapping) = Arc::get_mut(&mut mapping) {
        mapping.directory = Some(directory);
    }
    // Under Miri nothing arrives.
    if cfg!(miri) {
        return Ok(mapping);
    }
    let stat = fstat(mapping.as_fd())?;
    remember(&mut CHUNKS.lock(), (stat.st_dev, stat.st_ino), id, &mapping);
    Ok(mapping)
}

/// Returns the mapping of a chunk that arrived: the existing one, or a new one.
pub(crate) fn adopt(file: OwnedFd) -> Result<Arc<Mapping>, NoChunk> {
    // Without the seal, any process that has the file could truncate it, and the next access would end in SIGBUS.
    let seals = fcntl_get_seals(&file).map_err(|_| NoChunk::Foreign)?;
    if !seals.contains(SealFlags::SHRINK) {
        return Err(NoChunk::Foreign);
    }
    let stat = fstat(&file).map_err(|_| NoChunk::Foreign)?;
    let length = usize::try_from(stat.st_size).map_err(|_| NoChunk::Foreign)?;
    if !(SPAN_ALIGN..=MAPPING_BYTES_MAX).contains(&length) {
        return Err(NoChunk::Foreign);
    }
    let key = (stat.st_dev, stat.st_ino);
    // The lock is held until the new chunk is in the map: two threads may receive the same chunk at the same time.
    let mut chunks = CHUNKS.lock();
    let known = chunks.get(&key).and_then(|(id, mapping)| Some((*id, mapping.upgrade()?)));
    let mut mapping = match known {
        Some((id, mapping)) => {
            // Unlocked first: if the mapping is dropped here, and stays mapped for a lock, it is noted again.
            drop(chunks);
            return if id_in(&file) == Some(id) { Ok(mapping) } else { Err(NoChunk::Foreign) };
        }
        None => Mapping::of_others(file, length, allocated(&stat).min(length_u64(length)))
            .map_err(NoChunk::Memory)?,
    };
    let (directory, id) = Directory::read(&mapping).ok_or(NoChunk::Foreign)?;
    if let Some(mapping) = Arc::get_mut(&mut mapping) {
        mapping.directory = Some(directory);
    }
    remember(&mut chunks, key, id, &mapping);
    Ok(mapping)
}

/// Records a mapping that stays for ever, after the one that it was moved from is gone.
pub(crate) fn find_again(mapping: &Arc<Mapping>) -> Result<(), Errno> {
    let stat = fstat(mapping.as_fd())?;
    let (_, id) = Directory::read(mapping).ok_or(Errno::INVAL)?;
    remember(&mut CHUNKS.lock(), (stat.st_dev, stat.st_ino), id, mapping);
    Ok(())
}

/// The number of bytes of a file that have memory.
fn allocated(stat: &Stat) -> u64 {
    // In units of 512 bytes, whatever the block size.
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}

fn remember(chunks: &mut Chunks, key: (u64, u64), id: [u64; 2], mapping: &Arc<Mapping>) {
    chunks.retain(|_, (_, mapping)| mapping.strong_count() > 0);
    chunks.insert(key, (id, Arc::downgrade(mapping)));
}

/// Reads the id in a file, without mapping the file.
fn id_in(file: &OwnedFd) -> Option<[u64; 2]> {
    let mut id = [0_u64; 2];
    let wanted = size_of::<[u64; 2]>();
    let read = rustix::io::pread(file, bytemuck::cast_slice_mut::<u64, u8>(&mut id), 16).ok()?;
    (read == wanted).then_some(id)
}

fn no_random_id(error: OsError) {
    tracing::debug!(%error, "a chunk has no random id");
}

fn random_id() -> [u64; 2] {
    let mut id = [0_u64; 2];
    // Early in a boot there may be no randomness yet. Then only the file's numbers distinguish chunks.
    if let Err(error) = getrandom(bytemuck::cast_slice_mut::<u64, u8>(&mut id), GetRandomFlags::NONBLOCK) {
        tell(Note::Refused(no_random_id, error.into()));
    }
    id
}

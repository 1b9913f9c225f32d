//! Replaces files in memory under Miri, which has none: anonymous memory, and a descriptor without a meaning.
//!
//! So a file is mapped only once there, and has all its memory from the start.

use std::os::fd::{AsFd, OwnedFd};

use memmap2::{MmapOptions, MmapRaw};
use rustix::event::EventfdFlags;
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;

use crate::descriptors::eventfd;

type Result<T> = std::result::Result<T, Errno>;

pub(crate) fn map(_file: &OwnedFd, length: usize) -> std::io::Result<MmapRaw> {
    Ok(MmapOptions::new().len(length).map_anon()?.into())
}

pub(super) fn memfd_create(_name: &str, _flags: MemfdFlags) -> Result<OwnedFd> {
    eventfd(0, EventfdFlags::CLOEXEC)
}

pub(super) fn fallocate(_file: impl AsFd, _flags: FallocateFlags, _at: u64, _bytes: u64) -> Result<()> {
    Ok(())
}

pub(super) fn ftruncate(_file: impl AsFd, _length: u64) -> Result<()> {
    Ok(())
}

pub(crate) fn fcntl_add_seals(_file: impl AsFd, _seals: SealFlags) -> Result<()> {
    Ok(())
}

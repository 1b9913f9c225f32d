//! `memcpy` to and from a separate mapping of the kind that the library's arrays lie in: a reserved memfd.
#![expect(unsafe_code, reason = "a mapping, and memcpy into it")]

use std::ptr::{self, NonNull};

use anyhow::{Context, Result, ensure};
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// `len` numbers in a shared memfd mapping.
#[derive(Debug)]
pub(crate) struct RawMapping {
    start: NonNull<f64>,
    len: usize,
}

impl RawMapping {
    /// Maps `len` zeros.
    pub(crate) fn new(len: usize) -> Result<Self> {
        let bytes = len.checked_mul(size_of::<f64>()).context("more bytes than there are addresses")?;
        let file = memfd_create("mp-bench", MemfdFlags::CLOEXEC).context("no memfd")?;
        fallocate(&file, FallocateFlags::empty(), 0, u64::try_from(bytes)?).context("no memory")?;
        let readable_writable = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a null hint without MAP_FIXED lets the kernel choose; no existing mapping is touched.
        let mapped = unsafe { mmap(ptr::null_mut(), bytes, readable_writable, MapFlags::SHARED, &file, 0) };
        let start = NonNull::new(mapped.context("no mapping")?.cast()).context("a mapping at address 0")?;
        Ok(Self { start, len })
    }

    /// Copies all numbers out. No other process has the mapping, so plain `memcpy` is enough.
    pub(crate) fn read_into(&self, into: &mut [f64]) -> Result<()> {
        ensure!(into.len() == self.len, "the reference copies whole mappings");
        // SAFETY: both sides have `len` numbers; `into` is private memory, so they do not overlap.
        unsafe { ptr::copy_nonoverlapping(self.start.as_ptr(), into.as_mut_ptr(), self.len) };
        Ok(())
    }

    /// Copies all numbers in.
    pub(crate) fn write(&self, from: &[f64]) -> Result<()> {
        ensure!(from.len() == self.len, "the reference copies whole mappings");
        // SAFETY: as in `read_into`.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), self.start.as_ptr(), self.len) };
        Ok(())
    }
}

impl Drop for RawMapping {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `new` made, and no reference into it exists outside the methods above.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len * size_of::<f64>()) };
        debug_assert!(unmapped.is_ok(), "a whole mapping can be unmapped");
    }
}

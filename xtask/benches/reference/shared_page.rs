//! A page that forked processes share, for the raw words that the benchmarks compare with.
//!
//! A `Signal` that is measured lies there too: it is a mechanism of `mp-sys` without an object around it, and both
//! sides of a ratio must use the same kind of memory.
#![expect(unsafe_code, reason = "references into an anonymous shared mapping")]

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64};

use anyhow::{Context, Result};
use mp_sys::CachePadded;
use mp_sys::adaptive::Signal;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// A type that may lie in a page that several processes use.
///
/// # Safety
/// - All bytes zero is a valid value.
/// - It is used only through shared references, and several processes may then use it at the same time.
pub(crate) unsafe trait Shared: Sync {}

// SAFETY: an atomic integer; 0 is one.
unsafe impl Shared for AtomicU32 {}
// SAFETY: an atomic integer; 0 is one.
unsafe impl Shared for AtomicU64 {}
// SAFETY: made of atomic integers for this purpose; its documentation says that all zeros are a valid start.
unsafe impl Shared for Signal {}
// SAFETY: its only fields are two that may be shared, and padding.
unsafe impl<T: Shared> Shared for PingPong<T> {}
// SAFETY: an array has no bytes besides its elements.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {}

/// Two words that do not disturb each other: one process stores `ping` and waits for `pong`, and its peer does the
/// reverse.
#[derive(Debug)]
pub(crate) struct PingPong<T> {
    pub(crate) ping: CachePadded<T>,
    pub(crate) pong: CachePadded<T>,
}

/// A `T` in memory that every process forked from now on shares.
#[derive(Debug)]
pub(crate) struct SharedPage<T: Shared> {
    start: NonNull<T>,
    content: PhantomData<T>,
}

impl<T: Shared> SharedPage<T> {
    const BYTES: usize = {
        assert!(align_of::<T>() <= 4096, "a mapping starts at a page");
        size_of::<T>()
    };

    /// Maps the page, with all bytes zero.
    pub(crate) fn new() -> Result<Self> {
        let (readable_writable, shared) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a null hint without MAP_FIXED lets the kernel choose; no existing mapping is touched.
        let mapped = unsafe { mmap_anonymous(ptr::null_mut(), Self::BYTES, readable_writable, shared) };
        let mapped = mapped.context("no page of shared memory")?;
        let start = NonNull::new(mapped.cast::<T>()).context("a mapping at address 0")?;
        Ok(Self { start, content: PhantomData })
    }
}

impl<T: Shared> Deref for SharedPage<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `new` mapped room for a `T` at a page's start, zeroed, which `Shared` calls valid; it is unmapped
        // only in `drop`.
        unsafe { self.start.as_ref() }
    }
}

impl<T: Shared> Drop for SharedPage<T> {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `new` made, and no reference into it outlives `self`.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast::<c_void>(), Self::BYTES) };
        debug_assert!(unmapped.is_ok(), "a whole mapping can be unmapped");
    }
}

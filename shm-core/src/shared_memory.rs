//! `SharedMemory`: bytes in shared memory, whose meaning is up to the programs that share them.
//!
//! Other processes may write any byte at any moment, so there is no `&[u8]` or `&mut [u8]` of it: Rust's compiler may assume
//! that nobody else changes a slice. Bytes are copied in and out instead, and each byte is one relaxed atomic access in
//! Rust's model; [`mp_sys`] moves them in whole words.

use std::fmt;
use std::ops::Range;
use std::panic::{RefUnwindSafe, UnwindSafe};

use mp_sys::cells::SharedSlice;
use mp_sys::line::Count;
use mp_sys::memory::MemoryError;
use mp_sys::named::{ExistingSpan, Segment, What};

use crate::arena;
use crate::error::{RangeError, TOO_LARGE};
use crate::kind;
use crate::named::{self, NameError};
use crate::travel::{Parts, Travels, travels};

/// A fixed number of bytes that processes share.
///
/// | property | |
/// |---|---|
/// | size | `len` bytes, initially zero; under a name, whole pages and one page more |
/// | shared with | processes forked after it was made; by [name](crate::named), any process of this user |
/// | access | copies: [`read_at`](Self::read_at) and [`write_at`](Self::write_at), at the speed of `memcpy` |
/// | ordering | none: to pass bytes to another process, store a flag in a [`RawValue`](crate::RawValue) afterwards, or hold a [`Lock`](crate::Lock) |
/// | drop | closes this process's handle; the memory lives as long as any process has a handle |
///
/// For numbers, structs and atomic operations, use [`RawArray`](crate::RawArray) or [`Array`](crate::Array). Two views of
/// the same bytes by different types would be accesses of different sizes, which Rust's memory model does not allow.
///
/// # Fork safety
/// A forked child shares the memory.
///
/// # Crash
/// A process that dies in `write_at` or `fill` has written some of the bytes. Nobody waits for it, and nobody is warned. A
/// name disappears with the last process that holds it.
///
/// # Source
/// Python's `multiprocessing.shared_memory.SharedMemory`. Its `buf` is a view of memory that others may write; here bytes are
/// copied. There is no tracker process, and a killed process leaves no name behind.
///
/// # Examples
/// ```
/// # extern crate shm_core as mp;
/// use mp::SharedMemory;
///
/// let frame = SharedMemory::new(640 * 480)?;
/// frame.write_at(1000, b"pixels")?;
///
/// let mut read = [0; 6];
/// frame.read_at(1000, &mut read)?;
/// assert_eq!(&read, b"pixels");
/// assert_eq!(frame.read(1003..1008)?, b"els\0\0");
/// assert!(frame.write_at(640 * 480, b"!").is_err()); // nothing was written
///
/// # let name = format!("frames-{}", std::process::id());
/// let named = SharedMemory::create(&name, 100)?;
/// let found = SharedMemory::open(&name)?; // by any process of this user
/// found.write_at(0, &[7; 100])?;
/// assert_eq!(named.to_vec(), [7; 100]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SharedMemory {
    bytes: SharedSlice<u8>,
    segment: Option<Segment>,
}

impl SharedMemory {
    /// Creates `len` zero bytes without a name. `len` may be 0.
    ///
    /// # Errors
    /// [`MemoryError::NoSpace`] before anything is written, if that much memory is not available.
    pub fn new(len: usize) -> Result<Self, MemoryError> {
        let room = SharedSlice::<u8>::bytes_for(len).ok_or(TOO_LARGE)?;
        let bytes = SharedSlice::new(arena::allocate(room)?, len).map_err(|_| TOO_LARGE)?;
        Ok(Self { bytes, segment: None })
    }

    /// Creates `len` zero bytes under a name, which other programs of this user can open. `len` may be 0.
    ///
    /// # Errors
    /// [`NameError::Exists`] if a living process uses the name; [`NameError::BadName`]; [`NameError::Memory`] if that much
    /// memory is not available: nothing was made.
    pub fn create(name: &str, len: usize) -> Result<Self, NameError> {
        let room = SharedSlice::<u8>::bytes_for(len).ok_or(TOO_LARGE)?;
        let fill = |span| SharedSlice::new(span, len);
        let (bytes, segment) = named::create::<u8, _>(name, kind::SHARED_MEMORY, len, room, fill)?;
        Ok(Self { bytes, segment: Some(segment) })
    }

    /// Opens the bytes of this name. There are as many as their creator asked for.
    ///
    /// # Errors
    /// [`NameError::NotFound`], also for a name that killed processes left; [`NameError::WrongType`] for another kind of
    /// object; [`NameError::WrongVersion`] for an incompatible build.
    pub fn open(name: &str) -> Result<Self, NameError> {
        let attach = |len, span| SharedSlice::attach(span, len).ok();
        let (bytes, segment) = named::open::<u8, _>(name, kind::SHARED_MEMORY, attach)?;
        Ok(Self { bytes, segment: Some(segment) })
    }

    /// The number of bytes.
    #[doc(alias = "size")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Fills `into` with the bytes from `at` on. It must not reach beyond the end.
    ///
    /// # Errors
    /// [`RangeError::OutOfRange`]; nothing was copied.
    #[doc(alias = "buf")]
    pub fn read_at(&self, at: usize, into: &mut [u8]) -> Result<(), RangeError> {
        RangeError::check(at, into.len(), self.len())?;
        let _covered: bool = self.bytes.copy_out(at, into);
        Ok(())
    }

    /// Replaces the bytes from `at` on with `from`.
    ///
    /// # Errors
    /// [`RangeError::OutOfRange`] if they do not all fit; nothing was written.
    #[doc(alias = "buf")]
    pub fn write_at(&self, at: usize, from: &[u8]) -> Result<(), RangeError> {
        RangeError::check(at, from.len(), self.len())?;
        let _covered: bool = self.bytes.copy_in(at, from);
        Ok(())
    }

    /// Returns a copy of the bytes in `range`.
    ///
    /// # Errors
    /// [`RangeError::OutOfRange`]; no memory was allocated for the copy.
    pub fn read(&self, range: Range<usize>) -> Result<Vec<u8>, RangeError> {
        let Range { start, end } = range;
        let out_of_range = RangeError::OutOfRange { start, end, len: self.len() };
        let count = end.checked_sub(start).ok_or(out_of_range)?;
        RangeError::check(start, count, self.len())?;
        let mut into = vec![0; count];
        self.read_at(start, &mut into)?;
        Ok(into)
    }

    /// Returns a copy of all bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut into = vec![0; self.len()];
        let _covered: bool = self.bytes.copy_out(0, &mut into);
        into
    }

    /// Stores `byte` into every byte.
    pub fn fill(&self, byte: u8) {
        let batch = vec![byte; FILL_BYTES.min(self.len())];
        for at in (0..self.len()).step_by(FILL_BYTES) {
            let count = self.len().saturating_sub(at).min(FILL_BYTES);
            let _covered: bool = self.bytes.copy_in(at, batch.get(..count).unwrap_or_default());
        }
    }
}

/// Bytes of the private buffer that `fill` copies repeatedly.
const FILL_BYTES: usize = 4096;

impl Travels for SharedMemory {
    type Object = SharedSlice<u8>;

    fn what() -> What {
        named::of::<u8>(kind::SHARED_MEMORY)
    }

    fn parts(&self) -> Parts<'_, SharedSlice<u8>> {
        Parts { object: &self.bytes, count: self.len(), segment: self.segment.as_ref() }
    }

    fn arrive(object: ExistingSpan<SharedSlice<u8>>, count: usize) -> Option<Self> {
        Some(Self { bytes: SharedSlice::attach(object, count).ok()?, segment: None })
    }

    fn open_named(name: &str) -> Result<Self, NameError> {
        Self::open(name)
    }
}

travels!(SharedMemory);

// Like std's locks and atomics: every operation on it is whole, and other processes go on with it anyway.
impl UnwindSafe for SharedMemory {}
impl RefUnwindSafe for SharedMemory {}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedMemory({})", Count(self.len(), "byte"))
    }
}

//! What a child leaves for its parent: its value, or the message of its panic.
//!
//! It lies in a memfd that is made before the child, so there is nothing to connect and nothing to wait for besides the
//! child's end. The header is written last, by one write: a child that dies earlier has left nothing.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | kind: 0 nothing, 1 value, 2 panic, 3 too large, 4 not serializable, 5 no space |
//! | 8 | 8 | bytes that follow, or the size that was too large |
//! | 16 | | the value in postcard's form, or UTF-8 text |

use std::fs::File;
use std::os::unix::fs::FileExt;

use mp_sys::budget;
use mp_sys::child::ForkError;
use mp_sys::memory::{MemoryError, make_memfd};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::exit::ExitError;

/// The most bytes that a child's value may have in serialized form. More is better kept in shared memory.
pub const RESULT_BYTES_MAX: usize = 64 << 20;
/// Bytes of a panic message that are kept.
pub const PANIC_MESSAGE_BYTES_MAX: usize = 64 << 10;

const HEADER_BYTES: usize = 16;
const VALUE: u64 = 1;
const PANIC: u64 = 2;
const TOO_LARGE: u64 = 3;
const NOT_SERIALIZABLE: u64 = 4;
const NO_SPACE: u64 = 5;

/// The place where the child leaves it.
#[derive(Debug)]
pub(crate) struct Outcome {
    file: File,
}

impl Outcome {
    pub(crate) fn new() -> Result<Self, ForkError> {
        let file = make_memfd().map_err(|error| match error {
            MemoryError::System(error) => ForkError::System(error),
            _ => ForkError::OutOfDescriptors,
        })?;
        Ok(Self { file: File::from(file) })
    }

    pub(crate) fn leave_value<R: Serialize>(&self, value: &R) {
        match postcard::to_stdvec(value) {
            Ok(bytes) if bytes.len() > RESULT_BYTES_MAX => {
                self.commit(TOO_LARGE, bytes.len());
            }
            Ok(bytes) => self.leave(VALUE, &bytes),
            Err(error) => self.leave(NOT_SERIALIZABLE, error.to_string().as_bytes()),
        }
    }

    pub(crate) fn leave_panic(&self, message: &str) {
        // A character that is cut in half is read as U+FFFD.
        let bytes = message.as_bytes();
        self.leave(PANIC, bytes.get(..PANIC_MESSAGE_BYTES_MAX).unwrap_or(bytes));
    }

    fn leave(&self, kind: u64, bytes: &[u8]) {
        let wanted = u64::try_from(bytes.len().saturating_add(HEADER_BYTES)).unwrap_or(u64::MAX);
        // A few pages are written without asking: the question costs more than they do.
        let has_space = bytes.len() < SMALL_BYTES || wanted <= budget::available(0);
        if !has_space || self.file.write_all_at(bytes, HEADER_BYTES as u64).is_err() {
            self.commit(NO_SPACE, bytes.len());
            return;
        }
        self.commit(kind, bytes.len());
    }

    /// From here on the parent sees it.
    fn commit(&self, kind: u64, length: usize) {
        let mut header = [0_u8; HEADER_BYTES];
        let (first, second) = header.split_at_mut(8);
        first.copy_from_slice(&kind.to_ne_bytes());
        second.copy_from_slice(&u64::try_from(length).unwrap_or(u64::MAX).to_ne_bytes());
        if let Err(error) = self.file.write_all_at(&header, 0) {
            // The parent will find nothing and say so.
            tracing::error!(%error, "the result of a child could not be left");
        }
    }

    /// What the child left: `None` if it ended without leaving anything.
    pub(crate) fn take<R: DeserializeOwned>(&self) -> Option<Result<R, ExitError>> {
        let mut header = [0_u8; HEADER_BYTES];
        // Fails for a file that is still empty.
        self.file.read_exact_at(&mut header, 0).ok()?;
        let (first, second) = header.split_at(8);
        let kind = u64::from_ne_bytes(first.try_into().ok()?);
        let length = usize::try_from(u64::from_ne_bytes(second.try_into().ok()?)).unwrap_or(usize::MAX);
        match kind {
            TOO_LARGE => {
                return Some(Err(ExitError::ResultTooLarge { bytes: length, limit: RESULT_BYTES_MAX }));
            }
            NO_SPACE => return Some(Err(ExitError::NoSpaceForResult { bytes: length })),
            _ => {}
        }
        // The child is trusted no more than any other: the file says how long it really is.
        let longest = usize::try_from(self.file.metadata().ok()?.len()).ok()?.checked_sub(HEADER_BYTES)?;
        let mut bytes = vec![0; length.min(longest)];
        self.file.read_exact_at(&mut bytes, HEADER_BYTES as u64).ok()?;
        let text = || String::from_utf8_lossy(&bytes).into_owned();
        match kind {
            VALUE => Some(postcard::from_bytes(&bytes).map_err(|error| ExitError::Decode(error.to_string()))),
            PANIC => Some(Err(ExitError::Panicked(text()))),
            NOT_SERIALIZABLE => Some(Err(ExitError::Encode(text()))),
            _ => None,
        }
    }
}

/// Results below this are written without asking for the memory budget.
const SMALL_BYTES: usize = 64 << 10;

//! The result that a child leaves for its parent: its value, or the message of its panic.
//!
//! The result is in a memory file that all children of a process share, and that is made before the first of them. Each child
//! has a stretch of the file, so there is nothing to connect, and nothing to wait for besides the child's end. One write
//! stores the header last, so a child that dies earlier has left nothing. The file is sparse. When the child has ended and
//! its handle was dropped, the memory of a large value is freed, and the stretch goes to the next child.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | kind: 0 nothing, 1 value, 2 panic, 3 too large, 4 not serializable, 5 no space, 6 bad arguments |
//! | 8 | 8 | the number of bytes that follow, or the size that was too large |
//! | 16 | | the value in postcard's form, or UTF-8 text |

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use mp_sys::child::{ForkError, write_at};
use mp_sys::fork::{Epoch, PerProcess};
use mp_sys::memory::{MemoryError, give_back, make_memfd};
use mp_sys::{budget, crash, travel, wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::exit::ExitError;

/// The most bytes that a child's value may have in serialized form. Put more into shared memory.
pub const RESULT_BYTES_MAX: usize = 64 << 20;
/// The most bytes of a panic message that are kept.
pub const PANIC_MESSAGE_BYTES_MAX: usize = 64 << 10;

const HEADER_BYTES: usize = 16;
const VALUE: u64 = 1;
const PANIC: u64 = 2;
const TOO_LARGE: u64 = 3;
const NOT_SERIALIZABLE: u64 = 4;
const NO_SPACE: u64 = 5;
const BAD_ARGUMENTS: u64 = 6;

/// The number of bytes from one stretch to the next: room for the largest value.
const STRETCH_BYTES: u64 = 128 << 20;
/// The part of a stretch that stays in memory for the next child: one page.
const KEPT_BYTES: u64 = 4096;

/// The stretches of this process's file.
#[derive(Debug, Default)]
struct Stretches {
    file: Option<Arc<File>>,
    free: Vec<u64>,
    /// The first stretch that was never used.
    fresh: u64,
}

static STRETCHES: PerProcess<Stretches> = PerProcess::new();

/// The place where one child leaves its result.
#[derive(Debug)]
pub(crate) struct Outcome {
    file: Arc<File>,
    stretch: u64,
}

/// Keeps a stretch from being used for another child.
#[derive(Debug)]
pub(crate) struct Lease {
    outcome: Outcome,
    parent: Epoch,
}

impl Lease {
    pub(crate) fn new() -> Result<Self, ForkError> {
        // If files may not grow large, stretches cannot follow one another in one file, so each child gets its own file.
        let limit = budget::file_size_limit();
        // Not even the report that there was no room would fit.
        if let Some(limit) = limit.filter(|limit| *limit < HEADER_BYTES as u64) {
            return Err(ForkError::FileSizeLimit { limit });
        }
        let outcome = if limit.is_some() {
            Outcome { file: Arc::new(new_file()?), stretch: 0 }
        } else {
            next_stretch()?
        };
        // Clears the result of the previous child.
        outcome.commit(0, 0, limit);
        Ok(Self { outcome, parent: Epoch::current() })
    }

    /// Returns whether this process started the child. Otherwise it inherited the handle.
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.parent.is_current()
    }

    pub(crate) fn outcome(&self) -> &Outcome {
        &self.outcome
    }
}

fn next_stretch() -> Result<Outcome, ForkError> {
    let mut stretches = STRETCHES.lock_briefly();
    if stretches.file.is_none() {
        // Making a file may emit an event.
        drop(stretches);
        stretches = STRETCHES.lock();
    }
    let file = match &stretches.file {
        Some(file) => Arc::clone(file),
        None => Arc::clone(stretches.file.insert(Arc::new(new_file()?))),
    };
    let stretch = stretches.free.pop().unwrap_or_else(|| {
        let fresh = stretches.fresh;
        stretches.fresh = fresh.saturating_add(1);
        fresh
    });
    Ok(Outcome { file, stretch })
}

impl Drop for Lease {
    fn drop(&mut self) {
        // In a forked child, the stretch belongs to the parent.
        if !self.parent.is_current() {
            return;
        }
        let Outcome { file, stretch } = &self.outcome;
        let beyond = self.outcome.at(KEPT_BYTES);
        if file.metadata().is_ok_and(|file| file.len() > beyond)
            && let Err(error) = give_back(&**file, beyond, STRETCH_BYTES.saturating_sub(KEPT_BYTES))
        {
            tracing::debug!(%error, "the memory of a result stays allocated until the next child uses it");
        }
        let mut stretches = STRETCHES.lock_briefly();
        if stretches.file.as_ref().is_some_and(|shared| Arc::ptr_eq(shared, file)) {
            stretches.free.push(*stretch);
        }
    }
}

/// Frees the file if no child may still use it.
pub(crate) fn release_unused() {
    let mut stretches = STRETCHES.lock();
    if stretches.file.as_ref().is_some_and(|file| Arc::strong_count(file) == 1) {
        *stretches = Stretches::default();
    }
}

fn new_file() -> Result<File, ForkError> {
    let file = make_memfd().map_err(|error| match error {
        MemoryError::System(error) => ForkError::System(error),
        _ => ForkError::OutOfDescriptors,
    })?;
    Ok(File::from(file))
}

impl Outcome {
    /// Returns the place that came with a call.
    pub(crate) fn arrived(file: OwnedFd, stretch: u64) -> Self {
        Self { file: Arc::new(file.into()), stretch }
    }

    /// Returns the file and position by which another process finds the same place.
    pub(crate) fn address(&self) -> (BorrowedFd<'_>, u64) {
        (self.file.as_fd(), self.stretch)
    }

    /// Returns the offset in the file of a byte of this stretch.
    fn at(&self, byte: u64) -> u64 {
        self.stretch.saturating_mul(STRETCH_BYTES).saturating_add(byte)
    }

    #[inline(always)]
    pub(crate) fn leave_value<R: Serialize>(&self, value: &R) {
        crash::point();
        // There is no message here that a handle could travel in. The reason of the refusal says more than the format's
        // error.
        let (encoded, refused) = travel::alone(|| postcard::to_stdvec(value));
        crash::point();
        match encoded {
            Ok(bytes) if bytes.len() > RESULT_BYTES_MAX => {
                self.commit(TOO_LARGE, bytes.len(), budget::file_size_limit());
            }
            Ok(bytes) => match wire::check(value, &bytes, None) {
                Ok(()) => self.leave(VALUE, &bytes),
                Err(why) => self.leave(NOT_SERIALIZABLE, why.as_bytes()),
            },
            Err(error) => {
                let why =
                    refused.map_or_else(|| wire::unencodable(value, &error), |refused| refused.to_string());
                self.leave(NOT_SERIALIZABLE, why.as_bytes());
            }
        }
    }

    /// Leaves the reason why the worker was not called.
    pub(crate) fn leave_bad_arguments(&self, reason: &str) {
        self.leave(BAD_ARGUMENTS, reason.as_bytes());
    }

    pub(crate) fn leave_panic(&self, message: &str) {
        // A character that is cut in half reads as U+FFFD.
        let bytes = message.as_bytes();
        self.leave(PANIC, bytes.get(..PANIC_MESSAGE_BYTES_MAX).unwrap_or(bytes));
    }

    #[inline]
    fn leave(&self, kind: u64, bytes: &[u8]) {
        let wanted = u64::try_from(bytes.len().saturating_add(HEADER_BYTES)).unwrap_or(u64::MAX);
        let end = self.at(wanted);
        let limit = budget::file_size_limit();
        let fits = limit.is_none_or(|limit| end <= limit);
        // A few pages are written without a check of the memory budget, which would cost more than they do.
        let has_space =
            fits && (bytes.len() < SMALL_BYTES || wanted <= budget::available(end.saturating_sub(wanted)));
        if !has_space || write_at(&*self.file, bytes, self.at(HEADER_BYTES as u64)).is_err() {
            self.commit(NO_SPACE, bytes.len(), limit);
            return;
        }
        crash::point();
        self.commit(kind, bytes.len(), limit);
    }

    /// Writes the header, which makes the result visible to the parent.
    #[inline]
    fn commit(&self, kind: u64, length: usize, file_size_limit: Option<u64>) {
        // Writing beyond the limit would raise SIGXFSZ.
        if file_size_limit.is_some_and(|limit| self.at(HEADER_BYTES as u64) > limit) {
            return;
        }
        let mut header = [0_u8; HEADER_BYTES];
        let (first, second) = header.split_at_mut(8);
        first.copy_from_slice(&kind.to_ne_bytes());
        second.copy_from_slice(&u64::try_from(length).unwrap_or(u64::MAX).to_ne_bytes());
        if let Err(error) = write_at(&*self.file, &header, self.at(0)) {
            // The parent will find nothing and report that.
            tracing::error!(%error, "a child could not leave its result");
        }
        crash::point();
    }

    /// Returns what the child left, or `None` if it left nothing.
    pub(crate) fn take<R: DeserializeOwned>(&self) -> Option<Result<R, ExitError>> {
        match self.look()? {
            Left::Value(length) => {
                let bytes = self.read(length)?;
                let (decoded, refused) = travel::alone(|| postcard::from_bytes(&bytes));
                Some(decoded.map_err(|error| {
                    let why = refused.map(|refused| refused.to_string());
                    ExitError::Decode(why.unwrap_or_else(|| wire::undecodable::<R>(&bytes, &error)))
                }))
            }
            Left::Failure(failure) => Some(Err(failure)),
        }
    }

    /// Like `take`, but without the value: `Some(None)` if there is one.
    #[expect(
        clippy::option_option,
        reason = "`None`: nothing was left; `Some(None)`: a value was; otherwise the error"
    )]
    pub(crate) fn failure(&self) -> Option<Option<ExitError>> {
        match self.look()? {
            Left::Value(_) => Some(None),
            Left::Failure(failure) => Some(Some(failure)),
        }
    }

    fn look(&self) -> Option<Left> {
        let mut header = [0_u8; HEADER_BYTES];
        self.file.read_exact_at(&mut header, self.at(0)).ok()?;
        let (first, second) = header.split_at(8);
        let kind = u64::from_ne_bytes(first.try_into().ok()?);
        let length = usize::try_from(u64::from_ne_bytes(second.try_into().ok()?)).unwrap_or(usize::MAX);
        let text = || Some(String::from_utf8_lossy(&self.read(length)?).into_owned());
        let failure = match kind {
            VALUE => return Some(Left::Value(length)),
            TOO_LARGE => ExitError::ResultTooLarge { bytes: length, limit: RESULT_BYTES_MAX },
            NO_SPACE => ExitError::NoSpaceForResult { bytes: length },
            PANIC => ExitError::Panicked(text()?),
            NOT_SERIALIZABLE => ExitError::Encode(text()?),
            BAD_ARGUMENTS => ExitError::Arguments(text()?),
            _ => return None,
        };
        Some(Left::Failure(failure))
    }

    /// Reads what follows the header. The child's length is not trusted.
    fn read(&self, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length.min(RESULT_BYTES_MAX)];
        self.file.read_exact_at(&mut bytes, self.at(HEADER_BYTES as u64)).ok()?;
        Some(bytes)
    }
}

/// The result that a child has left.
enum Left {
    /// A value with this number of bytes.
    Value(usize),
    Failure(ExitError),
}

/// Results below this size are written without a check of the memory budget.
const SMALL_BYTES: usize = 64 << 10;

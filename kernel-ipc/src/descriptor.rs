//! File descriptors inside messages.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use mp_sys::travel;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

/// An open file, socket or other descriptor that can be part of a message.
///
/// The receiver gets its own descriptor for the same open file, and the sender keeps this one. The received descriptor is
/// closed on exec. Clones share one descriptor, which is closed when the last of them is dropped.
///
/// # Fork safety
/// A forked child has a copy.
///
/// # Source
/// Python's `multiprocessing.reduction.DupFd`; unix(7) `SCM_RIGHTS`.
///
/// # Examples
/// ```
/// # extern crate kernel_ipc as mp;
/// use std::io::{Read, Seek, Write};
/// use mp::Descriptor;
///
/// let (tx, rx) = mp::pipe::<(String, Descriptor)>()?;
/// let mut file = tempfile::tempfile()?;
/// file.write_all(b"written by one")?;
/// tx.send(&("report".to_owned(), file.into()))?;
///
/// let (_, descriptor) = rx.recv()?; // in any process
/// let mut file: std::fs::File = descriptor.try_into_fd()?.into();
/// let mut text = String::new();
/// file.rewind()?;
/// file.read_to_string(&mut text)?;
/// assert_eq!(text, "written by one");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "SCM_RIGHTS")]
#[doc(alias = "DupFd")]
#[derive(Clone)]
pub struct Descriptor {
    file: Arc<OwnedFd>,
}

impl Descriptor {
    /// Returns the descriptor itself.
    ///
    /// If a clone of it exists, or another thread is sending a message that contains it, the descriptor is duplicated.
    ///
    /// # Errors
    /// `EMFILE` if it has to be duplicated and there is no free descriptor.
    pub fn try_into_fd(self) -> io::Result<OwnedFd> {
        Arc::try_unwrap(self.file).or_else(|shared| shared.try_clone())
    }
}

impl<F: Into<OwnedFd>> From<F> for Descriptor {
    fn from(file: F) -> Self {
        Self { file: Arc::new(file.into()) }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        travel::pack(&self.file).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let index = u32::deserialize(deserializer)?;
        Ok(travel::unpack(index).map_err(D::Error::custom)?.into())
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Descriptor(fd {})", self.file.as_raw_fd())
    }
}

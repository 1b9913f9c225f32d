//! A descriptor that travels inside a message.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use mp_sys::travel;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

/// An open file, socket or other descriptor that can stand in a message.
///
/// The receiver gets a descriptor of its own for the same open file; the sender keeps this one. It is closed on exec. A clone
/// shares the descriptor, which is closed with the last of them.
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
    /// The descriptor itself.
    ///
    /// # Errors
    /// `EMFILE`, only if a clone of it is left, or while another thread sends a message that it is in: it is duplicated
    /// then.
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

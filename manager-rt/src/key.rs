//! Keys in files, and in messages to our own processes: a server that this process starts, and the arguments of a child.
//!
//! [`Key`] cannot be serialized by itself, so that no key ends up where it does not belong. A field that has to travel
//! with its key names this module.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use mp_sys::descriptors::open;
use mp_sys::key::Key;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::OsError;

/// The bits of a mode that let others do something.
const OTHERS: u32 = 0o077;

/// Why the key in a file is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// The error of the system.
    System(OsError),
    /// Other users have access to the file, which has this mode.
    Exposed { mode: u32 },
}

impl From<Errno> for Unread {
    fn from(error: Errno) -> Self {
        Self::System(error.into())
    }
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::System(error.into())
    }
}

/// Reads the key in a file: its bytes, without a line break at the end. The open file is checked, not its path, which may lead to
/// another file a moment later.
///
/// # Errors
/// Those of open(2) and read(2); `ENODATA` if there is no key in it, since a server with an empty key accepts everybody;
/// [`Unread::Exposed`].
pub(crate) fn read(path: &Path) -> Result<Key, Unread> {
    let mut file = File::from(open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
    let mode = file.metadata()?.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(Unread::Exposed { mode });
    }
    let mut key = Vec::new();
    file.read_to_end(&mut key)?;
    while key.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        key.pop();
    }
    if key.is_empty() { Err(Unread::System(Errno::NODATA.into())) } else { Ok(key.into()) }
}

pub(crate) fn serialize<S: Serializer>(key: &Key, to: S) -> Result<S::Ok, S::Error> {
    key.as_bytes().serialize(to)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Key, D::Error> {
    Vec::<u8>::deserialize(from).map(Key::from)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_line_break_is_not_part_of_a_key_and_a_file_without_a_key_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            read(file.path())
        };
        for text in ["a key", "a key\n", "a key\r\n", "a key\n\n"] {
            assert_eq!(read(text).unwrap().as_bytes(), b"a key", "{text:?}");
        }
        assert_eq!(read(" a key ").unwrap().as_bytes(), b" a key ");
        for text in ["", "\n", "\r\n"] {
            assert_eq!(read(text).unwrap_err(), Unread::System(Errno::NODATA.into()), "{text:?}");
        }
        assert_eq!(super::read(&file.path().join("none")).unwrap_err(), Unread::System(Errno::NOTDIR.into()));
    }

    #[test]
    fn a_key_to_which_others_have_access_is_not_used() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a key").unwrap();
        for (mode, is_used) in
            [(0o600, true), (0o400, true), (0o700, true), (0o640, false), (0o604, false), (0o4602, false)]
        {
            std::fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
            let expected = if is_used { Ok(Key::from("a key")) } else { Err(Unread::Exposed { mode }) };
            assert_eq!(read(file.path()), expected, "{mode:o}");
        }
        let errors = [
            crate::Server::builder().key_file(file.path()).unwrap_err().to_string(),
            crate::Manager::builder().key_file(file.path()).unwrap_err().to_string(),
        ];
        for error in errors {
            assert!(error.contains(file.path().to_str().unwrap()) && error.contains("mode 4602"), "{error}");
        }
    }
}

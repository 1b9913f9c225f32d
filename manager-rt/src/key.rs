//! Keys in files, and in messages to our own processes: a server that this process starts, and the arguments of a child.
//!
//! [`Key`] cannot be serialized by itself, so that no key ends up where it does not belong. A field that has to travel
//! with its key names this module.

use std::path::Path;

use mp_sys::key::Key;
use mp_sys::key::file::{self, Exposed, KeyFileError};
use rustix::io::Errno;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::OsError;

/// Why the key in a file is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// The error of the system.
    System(OsError),
    /// Other users have access to the file.
    Exposed { mode: u32, owner: u32 },
}

/// Reads the key in a file: its bytes, without a line break at the end.
///
/// # Errors
/// Those of open(2) and read(2); `ENODATA` if there is no key in it, since a server with an empty key accepts everybody; `EFBIG` if there is
/// more than a key; [`Unread::Exposed`].
pub(crate) fn read(path: &Path) -> Result<Key, Unread> {
    file::read(path).map_err(|error| match error {
        KeyFileError::System(error) => Unread::System(error),
        KeyFileError::Exposed(Exposed { mode, owner }) => Unread::Exposed { mode, owner },
        KeyFileError::Empty => Unread::System(Errno::NODATA.into()),
        KeyFileError::TooLong => Unread::System(Errno::FBIG.into()),
    })
}

/// Says that a file is not used, and why.
pub(crate) fn exposed(path: &Path, mode: u32, owner: u32) -> String {
    format!("the key file {} is not used: {}", path.display(), Exposed { mode, owner })
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
    use crate::limits::KEY_BYTES_MAX;

    #[test]
    fn a_line_break_is_not_part_of_a_key_and_a_file_without_a_key_or_with_more_is_an_error() {
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
        let longest = "k".repeat(KEY_BYTES_MAX);
        assert_eq!(read(&format!("{longest}\r\n")).unwrap().as_bytes(), longest.as_bytes());
        for more in ["k", "\n\n\n", &longest] {
            let error = read(&format!("{longest}{more}")).unwrap_err();
            assert_eq!(error, Unread::System(Errno::FBIG.into()), "{}", more.len());
        }
        assert_eq!(super::read(&file.path().join("none")).unwrap_err(), Unread::System(Errno::NOTDIR.into()));
    }

    #[test]
    fn a_key_to_which_others_have_access_is_not_used() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a key").unwrap();
        let owner = rustix::process::geteuid().as_raw();
        for mode in [0o600, 0o400, 0o700] {
            std::fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(file.path()), Ok(Key::from("a key")), "{mode:o}");
        }
        for mode in [0o660, 0o604, 0o4602] {
            std::fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(file.path()), Err(Unread::Exposed { mode, owner }), "{mode:o}");
        }
        if owner == 0 {
            for (mode, owner, is_used) in
                [(0o640, 0, true), (0o440, 0, true), (0o440, 1, false), (0o400, 1, false)]
            {
                std::os::unix::fs::chown(file.path(), Some(owner), None).unwrap();
                std::fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
                let expected =
                    if is_used { Ok(Key::from("a key")) } else { Err(Unread::Exposed { mode, owner }) };
                assert_eq!(read(file.path()), expected, "{mode:o} of {owner}");
            }
            std::os::unix::fs::chown(file.path(), Some(owner), None).unwrap();
        }
        std::fs::set_permissions(file.path(), Permissions::from_mode(0o4602)).unwrap();
        let errors = [
            crate::Server::builder().key_file(file.path()).unwrap_err().to_string(),
            crate::Manager::builder().key_file(file.path()).unwrap_err().to_string(),
        ];
        for error in errors {
            assert!(error.contains(file.path().to_str().unwrap()) && error.contains("mode 4602"), "{error}");
        }
    }
}

//! Keys in files, and in messages to our own processes: a server that this process starts, and the arguments of a child.
//!
//! [`Key`] cannot be serialized by itself, so that no key ends up where it does not belong. A field that has to travel
//! with its key names this module.

use std::path::Path;

use mp_sys::key::Key;
use rustix::io::Errno;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::OsError;

/// Reads the key in a file: its bytes, without a line break at the end.
///
/// # Errors
/// Those of open(2) and read(2); `ENODATA` if there is no key in it, since a server with an empty key accepts everybody.
pub(crate) fn read(path: &Path) -> Result<Key, OsError> {
    let mut key = std::fs::read(path)?;
    while key.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        key.pop();
    }
    if key.is_empty() { Err(Errno::NODATA.into()) } else { Ok(key.into()) }
}

pub(crate) fn serialize<S: Serializer>(key: &Key, to: S) -> Result<S::Ok, S::Error> {
    key.as_bytes().serialize(to)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Key, D::Error> {
    Vec::<u8>::deserialize(from).map(Key::from)
}

#[cfg(test)]
mod tests {
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
            assert_eq!(read(text).unwrap_err(), Errno::NODATA.into(), "{text:?}");
        }
        assert_eq!(super::read(&file.path().join("none")).unwrap_err(), Errno::NOTDIR.into());
    }
}

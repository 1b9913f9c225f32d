//! The header at the start of a segment. A page is reserved for it.
//!
//! | bytes | meaning | who stores |
//! |---|---|---|
//! | 0-7 | the magic number | the creator, before the segment has its name; so are all others except one |
//! | 8-15 | the layout's version and, in the upper half, the ABI: another C library has another layout of a mutex | |
//! | 16-23 | class and kind | |
//! | 24-31 | the print of the element type | |
//! | 32-39 | the number of elements | |
//! | 40-47 | whether the name stays without holders: 0 or 1 | any holder, while it holds the file |
//! | 48-55 | the time when the segment was made | |
//! | 56-63 | the length of the type's name in bytes | |
//! | 64-… | the type's name, for people: nothing compares it | |
//!
//! Processes of the same user can write to the header. So a reader checks the lengths in it, and trusts nothing else.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::{Description, MAGIC, NameError, What, version};
use crate::deadline::SharedTime;
use crate::memory::Mapping;
use crate::named::Placed;
use crate::named::what::bare_name;

/// Bytes before the object.
pub const HEADER_BYTES: usize = 4096;
/// The most bytes of a type's name that are kept.
pub const TYPE_NAME_BYTES_MAX: usize = 256;

const WORDS: usize = 8;
const WORD_BYTES: usize = size_of::<u64>();
const PERSISTENT_AT: usize = 5 * WORD_BYTES;
const TYPE_NAME_AT: usize = WORDS * WORD_BYTES;

type Words = [u64; WORDS];

/// Writes the header of a segment that no other process knows yet.
pub(super) fn write<O: Placed>(mapping: &Mapping, description: Description, type_name: &str) {
    let Description { what, len } = description;
    let bare = bare_name(type_name);
    let name = cut(&bare);
    let born = SharedTime::now().to_bits();
    let name_bytes = u64::try_from(name.len()).unwrap_or(0);
    let words: Words =
        [MAGIC, version(), what.class_and_kind(O::CLASS), what.print, len, 0, born, name_bytes];
    mapping.write_at(0, bytemuck::cast_slice(&words));
    mapping.write_at(TYPE_NAME_AT, name.as_bytes());
}

/// Returns the part of a type's name that is kept: whole characters.
fn cut(name: &str) -> &str {
    let end = (0..=TYPE_NAME_BYTES_MAX).rev().find(|&end| name.is_char_boundary(end));
    if name.len() <= TYPE_NAME_BYTES_MAX {
        name
    } else {
        end.and_then(|end| name.get(..end)).unwrap_or_default()
    }
}

/// What a caller expects to open.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Kind and element type.
    pub what: What,
    /// The name of the element type, for an error.
    pub type_name: &'a str,
    /// Returns what an error calls an object with a kind of this number and elements of this type: `Value<u64>`.
    pub words: fn(u8, &str) -> String,
}

/// Returns the description of the segment with this name, which must contain an object `O` as the caller expects it.
pub(super) fn check<O: Placed>(
    mapping: &Mapping,
    name: &str,
    expected: Expected<'_>,
) -> Result<Description, NameError> {
    let what = expected.what;
    let mut words = Words::default();
    mapping.read_at(0, bytemuck::cast_slice_mut(&mut words));
    let [magic, its_version, its_class_and_kind, its_print, len, _, _, name_bytes] = words;
    if magic != MAGIC || its_version != version() {
        return Err(NameError::WrongVersion);
    }
    if its_class_and_kind != what.class_and_kind(O::CLASS) || its_print != what.print {
        let [kind, ..] = its_class_and_kind.to_le_bytes();
        return Err(wrong_type(name, expected, kind, &type_name_in(mapping, name_bytes)));
    }
    Ok(Description { what, len })
}

/// Returns the error of a caller who found an object of this kind and element type, as its header claims.
fn wrong_type(name: &str, expected: Expected<'_>, kind: u8, type_name: &str) -> NameError {
    let wanted = bare_name(expected.type_name);
    let wanted = (expected.words)(expected.what.kind.number(), cut(&wanted));
    let mut found = (expected.words)(kind, type_name);
    if found == wanted {
        found.push_str(" with another layout");
    }
    NameError::WrongType { name: name.to_owned(), found, expected: wanted }
}

/// Returns the type's name in the header of a segment. Any process of the user can write there, and an error goes to logs
/// and terminals, so the name is cut and escaped.
fn type_name_in(mapping: &Mapping, name_bytes: u64) -> String {
    let mut name = vec![0; kept(name_bytes)];
    mapping.read_at(TYPE_NAME_AT, &mut name);
    String::from_utf8_lossy(&name).escape_debug().to_string()
}

/// Returns how many bytes of a type's name are read if a header claims that it has so many.
fn kept(name_bytes: u64) -> usize {
    usize::try_from(name_bytes).map_or(TYPE_NAME_BYTES_MAX, |n| n.min(TYPE_NAME_BYTES_MAX))
}

/// Makes the name stay without holders. The caller holds the file.
pub(super) fn set_persistent(mapping: &Mapping) {
    // It is a single byte, so a process that dies here has either stored it or not.
    let at = if cfg!(target_endian = "big") {
        PERSISTENT_AT.saturating_add(WORD_BYTES - 1)
    } else {
        PERSISTENT_AT
    };
    mapping.write_at(at, &[1]);
}

/// Whether the name of this file stays without holders.
pub(super) fn is_persistent(file: &File) -> bool {
    read(file).is_some_and(|header| header.is_persistent)
}

/// The contents of a header, for a list.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) kind: u8,
    pub(super) len: u64,
    pub(super) is_persistent: bool,
    pub(super) born: SharedTime,
    pub(super) type_name: String,
}

/// Reads a header without mapping the file. Returns `None` if it is not a header of this build.
pub(super) fn read(file: &File) -> Option<Read> {
    let mut words = Words::default();
    file.read_exact_at(bytemuck::cast_slice_mut(&mut words), 0).ok()?;
    let [magic, its_version, class_and_kind, _, len, persistent, born, name_bytes] = words;
    if magic != MAGIC || its_version != version() {
        return None;
    }
    let mut name = vec![0; kept(name_bytes)];
    file.read_exact_at(&mut name, u64::try_from(TYPE_NAME_AT).ok()?).ok()?;
    let [kind, ..] = class_and_kind.to_le_bytes();
    Some(Read {
        kind,
        len,
        is_persistent: persistent != 0,
        born: SharedTime::from_bits(born),
        type_name: String::from_utf8_lossy(&name).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_names_at_the_limit_and_one_above() {
        let longest = "t".repeat(TYPE_NAME_BYTES_MAX);
        assert_eq!(cut(&longest), longest);
        assert_eq!(cut(&"t".repeat(TYPE_NAME_BYTES_MAX + 1)), longest);
        // The limit is in the middle of a letter of two bytes.
        assert_eq!(cut(&format!("t{}", "\u{e4}".repeat(TYPE_NAME_BYTES_MAX))).len(), TYPE_NAME_BYTES_MAX - 1);
    }
}

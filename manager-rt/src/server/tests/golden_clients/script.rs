//! The text of recorded bytes, with names for numbers that the server chose.

use std::collections::BTreeMap;

/// The numbers that the server chose, by name.
pub(super) type Names = BTreeMap<String, u64>;

/// Returns bytes in hexadecimal form.
pub(super) fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}

pub(super) fn from_hex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// Returns `true` if the bytes are those of the pattern, in which `..` is any byte.
pub(super) fn is_like(pattern: &str, bytes: &str) -> bool {
    let is_like = |(pattern, byte)| pattern == ".." || pattern == byte;
    pattern.len() == bytes.len() && pattern.split(' ').zip(bytes.split(' ')).all(is_like)
}

/// Returns the name in a part of the text, if it is one.
fn name_of(part: &str) -> Option<&str> {
    part.strip_prefix('{')?.strip_suffix('}')
}

/// Returns the bytes of a text whose names are known.
pub(super) fn fill(text: &str, names: &Names) -> Vec<u8> {
    let part = |part: &str| match name_of(part) {
        Some(name) => postcard::to_allocvec(&names[name]).unwrap(),
        None => from_hex(part),
    };
    text.split_whitespace().flat_map(part).collect()
}

/// Compares bytes with a text, in which `..` is any byte. A name that is not known yet gets the number that is there.
pub(super) fn compare(text: &str, mut bytes: &[u8], names: &mut Names) -> bool {
    for part in text.split_whitespace() {
        if part == ".." {
            let Some(rest) = bytes.get(1..) else { return false };
            bytes = rest;
            continue;
        }
        let expected = match name_of(part) {
            Some(name) => {
                let Ok((number, _)) = postcard::take_from_bytes::<u64>(bytes) else { return false };
                postcard::to_allocvec(names.entry(name.to_owned()).or_insert(number)).unwrap()
            }
            None => from_hex(part),
        };
        match bytes.strip_prefix(&*expected) {
            Some(rest) => bytes = rest,
            None => return false,
        }
    }
    bytes.is_empty()
}

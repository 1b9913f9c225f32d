//! Values in the words of a command.

use super::words::Words;
use crate::engine::stored::parts_of;
use crate::proto::Raw;

/// Adds a value as Redis stores it to a command, after something else in the same word.
pub(super) fn add_stored(words: &mut Words, before: &[u8], raw: Raw<'_>) {
    let mut len = [0; 4];
    let [mark, len, ids, bytes] = parts_of(raw, &mut len);
    words.add(&[before, mark, len, ids, bytes]);
}

#[cfg(test)]
mod tests {
    use super::super::words::packed;
    use super::*;
    use crate::engine::stored::loaded;

    #[test]
    fn values_come_back_as_they_were_stored() {
        let ids = [7_u64.to_le_bytes(), 9_u64.to_le_bytes()].concat();
        let long = vec![3; 100_000];
        for raw in [Raw::plain(b""), Raw::plain(b"x"), Raw::plain(&long), Raw { bytes: b"xy", ids: &ids }] {
            let (mut stored, mut expected) = (Words::new(), Words::new());
            add_stored(&mut stored, b"", raw);
            let len = u32::try_from(raw.ids.len()).unwrap().to_le_bytes();
            let start = if raw.ids.is_empty() { vec![0] } else { [&[1], &len[..]].concat() };
            let bytes = [&start, raw.ids, raw.bytes].concat();
            expected.add(&[&bytes]);
            assert_eq!(packed(&[&stored]), packed(&[&expected]));
            assert_eq!(loaded(bytes).unwrap().raw(), raw);
        }
    }
}

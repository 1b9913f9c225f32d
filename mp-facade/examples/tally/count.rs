//! Counting the bytes of one range, fast.
//!
//! Bytes are counted by value, and lines and letters are read off at the end: no branches, whatever the text. Several
//! tables take turns, because a processor that increments the same counter twice in a row waits for the first one to
//! arrive in the cache; text is full of double letters and runs of blanks.
//!
//! A word counts where it starts: at a letter with no letter before it. So a range needs to know only the one byte
//! before it, and a word that reaches across ranges counts once. Eight bytes are looked at in one step, see [`letters_of`].

use std::ops::AddAssign;

/// The number of words that a [`Counts`] takes in shared memory.
pub(crate) const RECORD_WORDS: usize = 3 + LETTERS;
const LETTERS: usize = 26;
/// The number of tables that take turns. Eight of them (8 KiB) leave the first-level cache to the text.
const TABLES: usize = 8;

/// The counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) bytes: u64,
    pub(crate) lines: u64,
    pub(crate) words: u64,
    /// How often each letter occurs, in either case.
    pub(crate) letters: [u64; LETTERS],
}

impl Counts {
    pub(crate) fn to_record(self) -> [u64; RECORD_WORDS] {
        let mut record = [0; RECORD_WORDS];
        let (head, letters) = record.split_at_mut(3);
        head.copy_from_slice(&[self.bytes, self.lines, self.words]);
        letters.copy_from_slice(&self.letters);
        record
    }

    pub(crate) fn from_record(record: [u64; RECORD_WORDS]) -> Self {
        let [bytes, lines, words, letters @ ..] = record;
        Self { bytes, lines, words, letters }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.lines += other.lines;
        self.words += other.words;
        for (sum, letter) in self.letters.iter_mut().zip(other.letters) {
            *sum += letter;
        }
    }
}

/// Counts a range, piece by piece. A `u32` is enough for each counter: a range has at most 4 MiB.
pub(crate) struct Counter {
    tables: [[u32; 256]; TABLES],
    bytes: u64,
    words: u64,
    /// [`TOP`] of byte 0 if the byte before the next one is a letter, else 0.
    after_letter: u64,
}

impl Counter {
    /// A counter for a range with `before` in front of it: `None` at the start of a file.
    pub(crate) fn new(before: Option<u8>) -> Self {
        let after_letter = letters_of(u64::from(before.unwrap_or(0)));
        Self { tables: [[0; 256]; TABLES], bytes: 0, words: 0, after_letter }
    }

    pub(crate) fn add(&mut self, piece: &[u8]) {
        let (groups, rest) = piece.as_chunks::<TABLES>();
        let [t0, t1, t2, t3, t4, t5, t6, t7] = &mut self.tables;
        for group in groups {
            let [a, b, c, d, e, f, g, h] = *group;
            t0[usize::from(a)] += 1;
            t1[usize::from(b)] += 1;
            t2[usize::from(c)] += 1;
            t3[usize::from(d)] += 1;
            t4[usize::from(e)] += 1;
            t5[usize::from(f)] += 1;
            t6[usize::from(g)] += 1;
            t7[usize::from(h)] += 1;
            let letters = letters_of(u64::from_le_bytes(*group));
            // Each byte's mark moves to the byte behind it.
            let starts = letters & !(letters << 8 | self.after_letter);
            // At most eight marks, so their sum fits into the top byte, where the product puts it.
            self.words += (starts >> 7).wrapping_mul(ONES) >> 56;
            self.after_letter = letters >> 56;
        }
        for &byte in rest {
            t0[usize::from(byte)] += 1;
            let letter = letters_of(u64::from(byte));
            self.words += (letter & !self.after_letter) >> 7;
            self.after_letter = letter;
        }
        self.bytes += piece.len() as u64;
    }

    pub(crate) fn finish(self) -> Counts {
        let count_of =
            |byte: u8| self.tables.iter().map(|table| u64::from(table[usize::from(byte)])).sum::<u64>();
        let mut letters = [0; LETTERS];
        for (count, (lower, upper)) in letters.iter_mut().zip((b'a'..=b'z').zip(b'A'..=b'Z')) {
            *count = count_of(lower) + count_of(upper);
        }
        Counts { bytes: self.bytes, lines: count_of(b'\n'), words: self.words, letters }
    }
}

/// The lowest bit of each of eight bytes.
const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
/// The highest bit of each of eight bytes.
const TOP: u64 = u64::from_ne_bytes([0x80; 8]);
/// The bit that tells small letters from capitals, in each of eight bytes.
const CASE: u64 = u64::from_ne_bytes([0x20; 8]);

/// Marks the ASCII letters among eight bytes: the highest bit of each byte that is one, and no other bit.
///
/// With the highest bits cleared, no sum below carries into the next byte: 0x7f + 0x1f is 0x9e. Adding 0x1f sets the
/// highest bit from `a` (0x61) on, adding 0x05 sets it beyond `z` (0x7a).
fn letters_of(bytes: u64) -> u64 {
    let small = (bytes | CASE) & !TOP;
    let from_a = small + ONES * 0x1f;
    let beyond_z = small + ONES * 0x05;
    from_a & !beyond_z & !bytes & TOP
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(before: Option<u8>, text: &[u8]) -> Counts {
        let mut counter = Counter::new(before);
        counter.add(text);
        counter.finish()
    }

    #[test]
    fn every_byte_is_a_letter_or_not_at_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                // The neighbours are the bytes that would carry the furthest.
                for neighbour in [0x00, 0x7f, 0x80, 0xff] {
                    let mut bytes = [neighbour; 8];
                    bytes[place] = byte;
                    let mut expected = [0; 8];
                    expected[place] = if byte.is_ascii_alphabetic() { 0x80 } else { 0 };
                    assert_eq!(letters_of(u64::from_le_bytes(bytes)).to_le_bytes(), expected, "{bytes:x?}");
                }
            }
        }
    }

    #[test]
    fn words_are_runs_of_letters() {
        let words = |text: &[u8]| count(None, text).words;
        assert_eq!(words(b""), 0);
        assert_eq!(words(b"a"), 1);
        assert_eq!(words(b"don't"), 2);
        assert_eq!(words(b"one1two  three\nFour"), 4);
        assert_eq!(words("na\u{ef}ve".as_bytes()), 2);
        assert_eq!(words(b"@[`{"), 0);
        assert_eq!(words(&[b'x'; 100]), 1);
        assert_eq!(words(&b"x ".repeat(100)), 100);
    }

    #[test]
    fn a_word_that_began_before_the_range_does_not_count_again() {
        assert_eq!(count(Some(b'x'), b"yz a").words, 1);
        assert_eq!(count(Some(b'\n'), b"yz a").words, 2);
        assert_eq!(count(Some(0xc3), b"yz a").words, 2);
    }

    #[test]
    fn pieces_count_like_the_whole() {
        let text = b"The quick brown fox, jumps over\n\nthe lazy dog. \x80\xff 0123 zZ\n";
        let whole = count(None, text);
        assert_eq!((whole.bytes, whole.lines, whole.words), (text.len() as u64, 3, 10));
        for first in 0..=text.len() {
            let mut counter = Counter::new(None);
            counter.add(&text[..first]);
            counter.add(&text[first..]);
            assert_eq!(counter.finish(), whole, "cut at {first}");

            // As two ranges.
            let mut sum = count(None, &text[..first]);
            sum += count(first.checked_sub(1).map(|before| text[before]), &text[first..]);
            assert_eq!(sum, whole, "two ranges, cut at {first}");
        }
    }

    #[test]
    fn letters_count_in_either_case() {
        let counts = count(None, b"aAzZz{@[`");
        assert_eq!((counts.letters[0], counts.letters[25]), (2, 3));
        assert_eq!(counts.letters.iter().sum::<u64>(), 5);
    }

    #[test]
    fn a_record_gives_the_counts_back() {
        let counts = count(None, b"some words\nof text");
        assert_eq!(Counts::from_record(counts.to_record()), counts);
    }
}

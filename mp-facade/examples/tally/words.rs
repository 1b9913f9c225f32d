//! The words of one range and their frequencies, which a worker adds up before it sends them to the manager.
//!
//! A word belongs to the range in which it starts, as in [`count`](crate::count); its rest may be in the next one. Words are
//! folded to small letters. Most have at most sixteen letters, so one number holds their letters and serves as the key. That
//! needs no memory for each word, and one multiplication instead of a hash of a text.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::mem::take;

/// The most letters of a word that is ranked. Longer runs are encoded data, and would fill the dict.
pub(crate) const WORD_LETTERS_MAX: usize = 64;
/// The number of letters that one number holds.
const SHORT_LETTERS: usize = size_of::<u128>();
/// The bit that distinguishes small letters from capitals.
const CASE: u8 = 0x20;

/// Counts words, piece by piece.
#[derive(Debug)]
pub(crate) struct Words {
    short: HashMap<u128, u64, BuildHasherDefault<Mixer>>,
    long: HashMap<Box<[u8]>, u64>,
    /// The letters of the word that is being read, followed by zeros.
    letters: [u8; WORD_LETTERS_MAX],
    /// How many these are. Beyond the maximum, the word does not count.
    len: usize,
}

impl Words {
    pub(crate) fn new() -> Self {
        let (short, long) = (HashMap::default(), HashMap::new());
        Self { short, long, letters: [0; WORD_LETTERS_MAX], len: 0 }
    }

    /// Begins a range with `before` in front of it: `None` at the start of a file.
    pub(crate) fn begin(&mut self, before: Option<u8>) {
        self.short.clear();
        self.long.clear();
        self.letters = [0; WORD_LETTERS_MAX];
        // The rest of a word that began earlier does not count.
        let is_inside = before.is_some_and(|byte| byte.is_ascii_alphabetic());
        self.len = if is_inside { WORD_LETTERS_MAX + 1 } else { 0 };
    }

    pub(crate) fn add(&mut self, piece: &[u8]) {
        for byte in piece {
            let letter = byte | CASE;
            if letter.is_ascii_lowercase() {
                if let Some(place) = self.letters.get_mut(self.len) {
                    *place = letter;
                }
                self.len += 1;
            } else if self.len > 0 {
                self.end_word();
            }
        }
    }

    /// Returns how many bytes after the range may belong to its last word: 0 if no word is open, or if it is already too
    /// long.
    pub(crate) fn wants(&self) -> usize {
        match self.len {
            1..=WORD_LETTERS_MAX => WORD_LETTERS_MAX + 1 - self.len,
            _ => 0,
        }
    }

    /// Adds the bytes after the range that belong to its last word, and returns whether that word has ended.
    pub(crate) fn add_rest(&mut self, behind: &[u8]) -> bool {
        let end = behind.iter().position(|byte| !byte.is_ascii_alphabetic());
        self.add(&behind[..end.unwrap_or(behind.len())]);
        end.is_some()
    }

    /// Ends the range. The order is always the same, so a repetition has the same parts.
    pub(crate) fn finish(&mut self) -> Vec<(String, u64)> {
        self.end_word();
        let text = |letters: &[u8]| letters.iter().map(|letter| char::from(*letter)).collect::<String>();
        let short = take(&mut self.short).into_iter().map(|(packed, count)| {
            let letters = packed.to_le_bytes();
            let len = letters.iter().position(|letter| *letter == 0).unwrap_or(SHORT_LETTERS);
            (text(&letters[..len]), count)
        });
        let long = take(&mut self.long).into_iter().map(|(letters, count)| (text(&letters), count));
        let mut words: Vec<_> = short.chain(long).collect();
        words.sort_unstable();
        words
    }

    fn end_word(&mut self) {
        let len = take(&mut self.len);
        if let Some(word) = self.letters.get(..len).filter(|word| word.len() > SHORT_LETTERS) {
            match self.long.get_mut(word) {
                Some(count) => *count += 1,
                None => drop(self.long.insert(word.into(), 1)),
            }
        } else if (1..=SHORT_LETTERS).contains(&len)
            && let Some(packed) = self.letters.first_chunk()
        {
            *self.short.entry(u128::from_le_bytes(*packed)).or_default() += 1;
        }
        let used = len.min(WORD_LETTERS_MAX);
        self.letters[..used].fill(0);
    }
}

/// A hasher for one number.
#[derive(Debug, Default)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u128(u128::from(*byte)));
    }

    fn write_u128(&mut self, number: u128) {
        // An odd number without a pattern: 2^64 divided by the golden ratio.
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let [low, high] =
            [number, number >> 64].map(|half| u64::try_from(half & u128::from(u64::MAX)).unwrap_or(0));
        let mixed = (self.0 ^ low).wrapping_mul(ODD).rotate_left(32) ^ high;
        let product = u128::from(mixed) * u128::from(ODD);
        // The table uses the highest and the lowest bits.
        let folded = product ^ (product >> 64);
        self.0 = u64::try_from(folded & u128::from(u64::MAX)).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(before: Option<u8>, text: &[u8], behind: &[u8]) -> Vec<(String, u64)> {
        let mut words = Words::new();
        words.begin(before);
        words.add(text);
        assert!(words.wants() <= WORD_LETTERS_MAX);
        if words.wants() > 0 {
            words.add_rest(behind);
        }
        words.finish()
    }

    fn expected(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
        pairs.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect()
    }

    #[test]
    fn words_are_folded_and_counted_in_order() {
        let text = "The cat, the DOG; don't na\u{ef}ve THE_CAT1cat @[`{";
        let found = words(None, text.as_bytes(), b"");
        let all = [("cat", 3), ("dog", 1), ("don", 1), ("na", 1), ("t", 1), ("the", 3), ("ve", 1)];
        assert_eq!(found, expected(&all));
        assert_eq!(words(None, b"", b"x"), []);
    }

    #[test]
    fn words_of_every_length_count_up_to_the_longest() {
        for len in 1..=WORD_LETTERS_MAX + 2 {
            let word = "q".repeat(len);
            let text = format!("{word} {} x {word}", word.to_ascii_uppercase());
            let found = words(None, text.as_bytes(), b"");
            let count = |wanted: &str| found.iter().find(|(word, _)| word == wanted).map(|(_, count)| *count);
            assert_eq!(count(&word), (len <= WORD_LETTERS_MAX).then_some(3), "{len} letters");
            assert_eq!(count("x"), Some(1), "nothing is left of a word of {len} letters");
        }
    }

    #[test]
    fn a_word_belongs_to_the_range_that_it_starts_in() {
        let text = b"One longerthansixteenletters two, THREE\n";
        let whole = words(None, text, b"");
        for cut in 0..=text.len() {
            let before = cut.checked_sub(1).map(|before| text[before]);
            let mut sum: HashMap<String, u64> = HashMap::new();
            let ranges = [words(None, &text[..cut], &text[cut..]), words(before, &text[cut..], b"")];
            ranges.into_iter().flatten().for_each(|(word, count)| *sum.entry(word).or_default() += count);
            let mut sum: Vec<_> = sum.into_iter().collect();
            sum.sort();
            assert_eq!(sum, whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_word_that_reaches_too_far_does_not_count_on_either_side() {
        let long = [b'w'; WORD_LETTERS_MAX];
        assert_eq!(words(None, b"w", &long), []);
        assert_eq!(words(Some(b'w'), &long, b""), []);
        assert_eq!(words(None, b"w", &long[1..])[0].1, 1);
    }
}

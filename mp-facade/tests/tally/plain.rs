//! The same counts by another method: whole files, byte by byte, on one thread, with only the standard library.
//!
//! Words count where they end here; the example counts where they start.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// The longest word that is ranked, in letters.
const WORD_LETTERS_MAX: usize = 64;

/// What `tally` must find.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plain {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) lines: u64,
    pub(crate) words: u64,
    pub(crate) letters: [u64; 26],
}

/// All words of a folder, most frequent first, ties by word.
pub(crate) fn ranking_of_folder(folder: &Path) -> Vec<(String, u64)> {
    let mut words = HashMap::new();
    each_file(folder, &mut |text| {
        for word in text.split(|byte| !byte.is_ascii_alphabetic()) {
            if (1..=WORD_LETTERS_MAX).contains(&word.len()) {
                *words.entry(word.to_ascii_lowercase()).or_insert(0_u64) += 1;
            }
        }
    });
    let words = words.into_iter().map(|(word, count)| (String::from_utf8(word).unwrap(), count));
    let mut words: Vec<_> = words.collect();
    words.sort_by(|(one, one_count), (other, other_count)| {
        other_count.cmp(one_count).then_with(|| one.cmp(other))
    });
    words
}

/// Shows the text of every file that counts.
fn each_file(folder: &Path, show: &mut impl FnMut(&[u8])) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            let name = entry.file_name();
            if name != ".git" && name != "target" {
                each_file(&entry.path(), show);
            }
        } else if kind.is_file() {
            show(&fs::read(entry.path()).unwrap());
        }
    }
}

impl Plain {
    /// Counts everything below a folder.
    pub(crate) fn of_folder(folder: &Path) -> Self {
        let mut plain = Self::default();
        each_file(folder, &mut |text| plain.add_text(text));
        plain
    }

    /// Adds one file with this text.
    pub(crate) fn add_text(&mut self, text: &[u8]) {
        self.files += 1;
        self.bytes += text.len() as u64;
        let mut in_word = false;
        for byte in text {
            let letter = match byte {
                b'a'..=b'z' => Some(byte - b'a'),
                b'A'..=b'Z' => Some(byte - b'A'),
                _ => None,
            };
            match letter {
                Some(letter) => {
                    self.letters[usize::from(letter)] += 1;
                    in_word = true;
                }
                None => {
                    if in_word {
                        self.words += 1;
                    }
                    in_word = false;
                    if *byte == b'\n' {
                        self.lines += 1;
                    }
                }
            }
        }
        if in_word {
            self.words += 1;
        }
    }
}

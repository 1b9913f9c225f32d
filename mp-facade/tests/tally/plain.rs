//! The same counts, found in another way: whole files, byte by byte, on one thread, with the standard library alone.
//!
//! Words count where they end here; the example counts where they start.

use std::fs;
use std::path::Path;

/// What `tally` must find.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plain {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) lines: u64,
    pub(crate) words: u64,
    pub(crate) letters: [u64; 26],
}

impl Plain {
    /// Counts everything below a folder.
    pub(crate) fn of_folder(folder: &Path) -> Self {
        let mut plain = Self::default();
        plain.add_folder(folder);
        plain
    }

    fn add_folder(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                let name = entry.file_name();
                if name != ".git" && name != "target" {
                    self.add_folder(&entry.path());
                }
            } else if kind.is_file() {
                self.add_text(&fs::read(entry.path()).unwrap());
            }
        }
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

//! Counting one range of a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::count::{Counter, Counts};
use crate::words::{WORD_LETTERS_MAX, Words};

/// The number of bytes that are read at once, which stay in the second-level cache until they are counted.
pub(crate) const BUFFER_BYTES: usize = 256 << 10;

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    /// The number of bytes that follow in the file, up to the end of the next range.
    pub(crate) behind: u64,
}

/// Counts a range of `file`, or as much of it as exists: the file may have become shorter since it was found. Adds its words
/// to `words`, if that is present.
pub(crate) fn count_range(
    file: &File,
    range: Range,
    buffer: &mut [u8],
    mut words: Option<&mut Words>,
) -> io::Result<Counts> {
    let Range { offset, length, behind } = range;
    let before = match offset.checked_sub(1) {
        Some(before) => {
            let mut byte = [0];
            (read_at(file, &mut byte, before)? == 1).then_some(byte[0])
        }
        None => None,
    };
    let mut counter = Counter::new(before);
    if let Some(words) = &mut words {
        words.begin(before);
    }
    let (mut at, end) = (offset, offset.saturating_add(length));
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let read = read_at(file, &mut buffer[..wanted], at)?;
        if read == 0 {
            break;
        }
        counter.add(&buffer[..read]);
        if let Some(words) = &mut words {
            words.add(&buffer[..read]);
        }
        at += read as u64;
    }
    if let Some(words) = words {
        add_rest(file, end, behind, words)?;
    }
    Ok(counter.finish())
}

/// Reads the rest of a range's last word, which may reach into the next range.
fn add_rest(file: &File, mut at: u64, behind: u64, words: &mut Words) -> io::Result<()> {
    let end = at.saturating_add(behind);
    let mut rest = [0; WORD_LETTERS_MAX];
    while words.wants() > 0 && at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(words.wants()).min(rest.len());
        let read = read_at(file, &mut rest[..wanted], at)?;
        let is_over = words.add_rest(&rest[..read]);
        if read == 0 || is_over {
            break;
        }
        at += read as u64;
    }
    Ok(())
}

/// Reads once, and repeats the call if a signal interrupts it.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        file
    }

    fn count(file: &File, offset: u64, length: u64, buffer: &mut [u8]) -> io::Result<Counts> {
        count_range(file, Range { offset, length, behind: 0 }, buffer, None)
    }

    #[test]
    fn words_of_ranges_are_those_of_the_whole() {
        let long = "l".repeat(WORD_LETTERS_MAX);
        let text = format!("a Longerword across\n{long} the {long}s ranges");
        let (file, end) = (file(text.as_bytes()), text.len() as u64);
        let of = |offset, length, behind, buffer_bytes| {
            let mut words = Words::new();
            let range = Range { offset, length, behind };
            count_range(&file, range, &mut vec![0; buffer_bytes], Some(&mut words)).unwrap();
            words.finish()
        };
        let whole = of(0, end, 0, 64);
        assert_eq!(whole.len(), 6);
        for range_bytes in (1..=end).step_by(7).chain([end - 1, end]) {
            for buffer_bytes in [1, 3, 64] {
                let mut sum = std::collections::BTreeMap::new();
                for offset in (0..end).step_by(usize::try_from(range_bytes).unwrap()) {
                    let length = range_bytes.min(end - offset);
                    // As if the next range was the whole rest of the file.
                    let words = of(offset, length, end - offset - length, buffer_bytes);
                    words.into_iter().for_each(|(word, count)| *sum.entry(word).or_insert(0) += count);
                }
                let sum: Vec<_> = sum.into_iter().collect();
                assert_eq!(sum, whole, "{range_bytes} bytes a range, {buffer_bytes} at once");
            }
        }
    }

    #[test]
    fn ranges_count_like_the_whole_whatever_the_buffer() {
        let text = b"a longerword across\nthe ranges";
        let file = file(text);
        let whole = count(&file, 0, text.len() as u64, &mut [0; 64]).unwrap();
        assert_eq!((whole.lines, whole.words), (1, 5));
        for range_bytes in 1..=text.len() as u64 {
            for buffer_bytes in [1, 3, 64] {
                let mut sum = Counts::default();
                for offset in (0..text.len() as u64).step_by(usize::try_from(range_bytes).unwrap()) {
                    let length = range_bytes.min(text.len() as u64 - offset);
                    sum += count(&file, offset, length, &mut vec![0; buffer_bytes]).unwrap();
                }
                assert_eq!(sum, whole, "{range_bytes} bytes a range, {buffer_bytes} at once");
            }
        }
    }

    #[test]
    fn a_file_that_became_shorter_counts_as_far_as_it_reaches() {
        let file = file(b"one two three");
        file.set_len(6).unwrap();
        let counts = count(&file, 0, 13, &mut [0; 4]).unwrap();
        assert_eq!((counts.bytes, counts.words), (6, 2));
        let counts = count(&file, 5, 8, &mut [0; 4]).unwrap();
        assert_eq!((counts.bytes, counts.words), (1, 0));
        // Nothing is left of this range, not even the byte before it.
        let counts = count(&file, 10, 3, &mut [0; 4]).unwrap();
        assert_eq!(counts, Counts::default());
    }

    #[test]
    fn a_file_that_grew_counts_up_to_the_size_that_was_asked_for() {
        let file = file(b"one two three");
        assert_eq!(count(&file, 0, 7, &mut [0; 64]).unwrap().bytes, 7);
    }
}

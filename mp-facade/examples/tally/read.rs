//! Counting one range of a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::count::{Counter, Counts};

/// Bytes that are read at once: they stay in the second-level cache until they are counted.
pub(crate) const BUFFER_BYTES: usize = 256 << 10;

/// Counts `length` bytes of `file` from `offset` on, or as many as there are: the file may have become shorter since
/// it was found.
pub(crate) fn count_range(file: &File, offset: u64, length: u64, buffer: &mut [u8]) -> io::Result<Counts> {
    let before = match offset.checked_sub(1) {
        Some(before) => {
            let mut byte = [0];
            (read_at(file, &mut byte, before)? == 1).then_some(byte[0])
        }
        None => None,
    };
    let mut counter = Counter::new(before);
    let (mut at, end) = (offset, offset.saturating_add(length));
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let read = read_at(file, &mut buffer[..wanted], at)?;
        if read == 0 {
            break;
        }
        counter.add(&buffer[..read]);
        at += read as u64;
    }
    Ok(counter.finish())
}

/// One read that a signal does not disturb.
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

    #[test]
    fn ranges_count_like_the_whole_whatever_the_buffer() {
        let text = b"a longerword across\nthe ranges";
        let file = file(text);
        let whole = count_range(&file, 0, text.len() as u64, &mut [0; 64]).unwrap();
        assert_eq!((whole.lines, whole.words), (1, 5));
        for range_bytes in 1..=text.len() as u64 {
            for buffer_bytes in [1, 3, 64] {
                let mut sum = Counts::default();
                for offset in (0..text.len() as u64).step_by(usize::try_from(range_bytes).unwrap()) {
                    let length = range_bytes.min(text.len() as u64 - offset);
                    sum += count_range(&file, offset, length, &mut vec![0; buffer_bytes]).unwrap();
                }
                assert_eq!(sum, whole, "{range_bytes} bytes a range, {buffer_bytes} at once");
            }
        }
    }

    #[test]
    fn a_file_that_became_shorter_counts_as_far_as_it_reaches() {
        let file = file(b"one two three");
        file.set_len(6).unwrap();
        let counts = count_range(&file, 0, 13, &mut [0; 4]).unwrap();
        assert_eq!((counts.bytes, counts.words), (6, 2));
        let counts = count_range(&file, 5, 8, &mut [0; 4]).unwrap();
        assert_eq!((counts.bytes, counts.words), (1, 0));
        // Nothing is left of this range, not even the byte before it.
        let counts = count_range(&file, 10, 3, &mut [0; 4]).unwrap();
        assert_eq!(counts, Counts::default());
    }

    #[test]
    fn a_file_that_grew_counts_up_to_the_size_that_was_asked_for() {
        let file = file(b"one two three");
        assert_eq!(count_range(&file, 0, 7, &mut [0; 64]).unwrap().bytes, 7);
    }
}

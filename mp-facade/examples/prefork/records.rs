//! Access records, which background processes write into a log file.
//!
//! A job of a queue is done *at least* once: a process that is killed after its work and before [`done`](mp::Task::done) leaves
//! the job to another one. So a record is not appended. Its place in the file follows from the number of the hit, and writing it
//! twice has the same effect as writing it once. The records in the file are counted exactly, whoever was killed.
//!
//! A record is a line of [`RECORD_BYTES`] bytes. The place of a hit that was never recorded, because its worker was killed in
//! between, holds zeros. The file keeps the newest [`RECORDS_MAX`] records.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::limits::{RECORD_BYTES, RECORDS_MAX};

/// Bytes of the path in a record.
const PATH_BYTES: usize = 16;
/// Records that are read at once.
const READ_RECORDS: usize = 1024;

/// What happened to one hit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Access {
    /// The number of the hit, from 1.
    pub(crate) number: u64,
    /// When it was counted, in milliseconds of the server's clock.
    pub(crate) at_ms: u64,
    /// The worker.
    pub(crate) pid: u32,
    /// The time until it was counted, in microseconds.
    pub(crate) micros: u32,
    pub(crate) path: String,
}

/// What a worker leaves to the background processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Job {
    Record(Access),
    /// Remove sessions that are no longer used.
    Sweep,
}

/// The log file. All background processes have it open.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
}

impl Log {
    /// Starts an empty log.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path);
        Ok(Self { file: file.with_context(|| format!("the log {}", path.display()))? })
    }

    pub(crate) fn write(&self, access: &Access) -> io::Result<()> {
        let place = access.number.saturating_sub(1) % RECORDS_MAX;
        self.file.write_all_at(&line(access), place * RECORD_BYTES as u64)
    }

    /// How many records the file holds.
    pub(crate) fn count(&self) -> io::Result<u64> {
        let mut buffer = vec![0; READ_RECORDS * RECORD_BYTES];
        let (mut at, mut records) = (0, 0);
        // Something that is no ordinary file may have no end.
        while at < RECORDS_MAX * RECORD_BYTES as u64 {
            let bytes = match self.file.read_at(&mut buffer, at) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                bytes => bytes?,
            };
            let whole = bytes - bytes % RECORD_BYTES;
            if whole == 0 {
                break;
            }
            records +=
                buffer[..whole].chunks(RECORD_BYTES).filter(|line| line.ends_with(b"\n")).count() as u64;
            at += whole as u64;
        }
        Ok(records)
    }
}

fn line(access: &Access) -> [u8; RECORD_BYTES] {
    let Access { number, at_ms, pid, micros, path } = access;
    let path: String =
        path.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).take(PATH_BYTES).collect();
    let text = format!("{number:>12} {at_ms:>12} {pid:>8} {micros:>10} {path:<PATH_BYTES$}");
    let mut line = [b' '; RECORD_BYTES];
    let bytes = text.len().min(RECORD_BYTES - 1);
    line[..bytes].copy_from_slice(&text.as_bytes()[..bytes]);
    line[RECORD_BYTES - 1] = b'\n';
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(number: u64) -> Access {
        Access { number, at_ms: 12, pid: 34, micros: 56, path: "/".to_owned() }
    }

    #[test]
    fn a_record_that_is_written_twice_counts_once_and_a_hole_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::create(&path).unwrap();
        assert_eq!(log.count().unwrap(), 0);
        for number in [3, 1, 3, 1500] {
            log.write(&access(number)).unwrap();
        }
        assert_eq!(log.count().unwrap(), 3);
        let text = std::fs::read(&path).unwrap();
        let third = std::str::from_utf8(&text[2 * RECORD_BYTES..3 * RECORD_BYTES]).unwrap();
        assert_eq!(third.split_whitespace().collect::<Vec<_>>(), ["3", "12", "34", "56", "/"]);
    }

    #[test]
    fn the_newest_records_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::create(&folder.path().join("log")).unwrap();
        for number in [1, RECORDS_MAX, RECORDS_MAX + 1] {
            log.write(&access(number)).unwrap();
        }
        assert_eq!(log.count().unwrap(), 2, "the first one was replaced");
        assert_eq!(log.file.metadata().unwrap().len(), RECORDS_MAX * RECORD_BYTES as u64);
    }

    #[test]
    fn every_line_has_the_same_length_whatever_the_path() {
        let path = "/ü\n".repeat(100);
        let widest = Access { number: u64::MAX, at_ms: u64::MAX, pid: u32::MAX, micros: u32::MAX, path };
        for access in [widest, access(1)] {
            let line = line(&access);
            assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
            assert!(line.ends_with(b"\n") && line.is_ascii());
        }
    }
}

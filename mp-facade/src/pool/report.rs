//! Reports: what travels from a worker to its pool, as bytes in queues.
//!
//! | a report, from a worker | bytes | |
//! |---|---|---|
//! | job, first | 16 | the job and the index of the first item; the others follow in the order in which the worker got them |
//! | outcomes | | for each item, 1 byte of [`Kind`] and length, 4 of length if it is long, and the encoded value or a text |

use crate::pool::chunk::{next_part, put_len};

/// How an item ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// With a value.
    Value = 0,
    /// With a panic; its message follows.
    Panicked = 1,
    /// The argument could not be decoded; the reason follows.
    Argument = 2,
    /// The value could not be encoded; the reason follows.
    Result = 3,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Value,
            1 => Self::Panicked,
            2 => Self::Argument,
            3 => Self::Result,
            _ => return None,
        })
    }
}

/// Bits of an outcome's first byte that are its length. Its kind is in the bits above.
const LEN_BITS: u32 = 6;
/// The most memory that a report keeps for the next one, in bytes. One long result must not fill a worker's memory for good.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// The length of an outcome whose length is in the next 4 bytes.
const LONG: u8 = (1 << LEN_BITS) - 1;

/// A report while a worker writes it.
#[derive(Debug, Default)]
pub(super) struct Report {
    bytes: Vec<u8>,
    count: u32,
    /// Where the last outcome begins.
    last: usize,
    /// Whether an outcome gets the 4 bytes of length: once one was long, others are expected to be.
    has_long: bool,
}

impl Report {
    /// Begins a report of which `first` is the first item.
    pub(super) fn begin(&mut self, job: u64, first: u64) {
        self.clear();
        self.bytes.extend_from_slice(&job.to_le_bytes());
        self.bytes.extend_from_slice(&first.to_le_bytes());
    }

    /// Removes all outcomes.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.count = 0;
    }

    /// Begins an outcome, and returns the bytes to which its value is appended. [`close`](Self::close) or
    /// [`fail`](Self::fail) ends it.
    #[inline]
    pub(super) fn open(&mut self) -> &mut Vec<u8> {
        self.last = self.bytes.len();
        self.bytes.push(LONG);
        if self.has_long {
            self.bytes.extend_from_slice(&[0; 4]);
        }
        &mut self.bytes
    }

    /// Ends an outcome that is a value.
    #[inline]
    pub(super) fn close(&mut self) {
        self.close_as(Kind::Value);
    }

    /// Ends an outcome that is no value. What was appended is removed.
    #[cold]
    pub(super) fn fail(&mut self, kind: Kind, reason: &str) {
        self.bytes.truncate(self.last);
        self.open().extend_from_slice(reason.as_bytes());
        self.close_as(kind);
    }

    #[inline]
    fn close_as(&mut self, kind: Kind) {
        self.count = self.count.saturating_add(1);
        let kind = (kind as u8) << LEN_BITS;
        let len = self.bytes.len().saturating_sub(self.last).saturating_sub(1);
        match u8::try_from(len) {
            Ok(len) if len < LONG && !self.has_long => {
                if let Some(head) = self.bytes.get_mut(self.last) {
                    *head = kind | len;
                }
            }
            _ => self.close_long(kind),
        }
    }

    fn close_long(&mut self, kind: u8) {
        let after = self.last.saturating_add(1);
        if !self.has_long {
            self.has_long = true;
            self.bytes.splice(after..after, [0; 4]);
        }
        put_len(&mut self.bytes, after);
        if let Some(head) = self.bytes.get_mut(self.last) {
            *head = kind | LONG;
        }
    }

    /// The number of outcomes.
    #[inline]
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A report as the pool reads it: the outcomes in order.
#[derive(Debug)]
pub(super) struct Outcomes<'a> {
    pub(super) job: u64,
    pub(super) first: u64,
    bytes: &'a [u8],
}

impl<'a> Outcomes<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        let (job, rest) = bytes.split_first_chunk()?;
        let (first, bytes) = rest.split_first_chunk()?;
        Some(Self { job: u64::from_le_bytes(*job), first: u64::from_le_bytes(*first), bytes })
    }

    #[inline]
    fn take(&mut self) -> Option<(Kind, &'a [u8])> {
        let (head, rest) = self.bytes.split_first()?;
        let kind = Kind::of(head >> LEN_BITS)?;
        let len = head & LONG;
        if len == LONG {
            self.bytes = rest;
            return Some((kind, next_part(&mut self.bytes)?));
        }
        let (payload, rest) = rest.split_at_checked(len.into())?;
        self.bytes = rest;
        Some((kind, payload))
    }
}

impl<'a> Iterator for Outcomes<'a> {
    /// `None` if the rest of the report cannot be understood.
    type Item = Option<(Kind, &'a [u8])>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let outcome = self.take();
        if outcome.is_none() {
            self.bytes = &[];
        }
        Some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_long_report_is_freed() {
        let mut report = Report::default();
        report.begin(0, 0);
        append(&mut report, &vec![0; KEPT_BYTES_MAX * 2]);
        report.clear();
        assert!(report.bytes.capacity() <= KEPT_BYTES_MAX);
        report.begin(0, 1);
        append(&mut report, &vec![0; KEPT_BYTES_MAX / 2]);
        let kept = report.bytes.capacity();
        report.clear();
        assert_eq!(report.bytes.capacity(), kept);
    }

    fn append(report: &mut Report, bytes: &[u8]) {
        report.open().extend_from_slice(bytes);
        report.close();
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let mut report = Report::default();
        for round in 0..2 {
            report.begin(3, 40 + round);
            append(&mut report, &[1, 2]);
            report.open().push(9);
            report.fail(Kind::Panicked, "oh");
            append(&mut report, b"");
            let outcomes = Outcomes::of(report.as_bytes()).unwrap();
            assert_eq!((outcomes.job, outcomes.first, report.count()), (3, 40 + round, 3));
            let all: Vec<_> = outcomes.map(Option::unwrap).collect();
            assert_eq!(all, [(Kind::Value, &[1, 2][..]), (Kind::Panicked, b"oh"), (Kind::Value, b"")]);
        }
    }

    #[test]
    fn outcomes_of_all_lengths_stand_beside_each_other() {
        let long = usize::from(LONG);
        let lens = [0, 1, long - 1, long, long + 1, 255, 256, 70_000];
        for first in lens {
            for second in lens {
                // The first report has its first long outcome after a short one.
                let mut report = Report::default();
                for _ in 0..2 {
                    report.begin(1, 2);
                    append(&mut report, &vec![1; first]);
                    append(&mut report, &vec![2; second]);
                    report.open().extend_from_slice(&vec![9; first]);
                    report.fail(Kind::Result, &"3".repeat(second));
                    let all: Vec<_> = Outcomes::of(report.as_bytes()).unwrap().map(Option::unwrap).collect();
                    assert_eq!(
                        all,
                        [
                            (Kind::Value, &vec![1; first][..]),
                            (Kind::Value, &vec![2; second][..]),
                            (Kind::Result, "3".repeat(second).as_bytes())
                        ]
                    );
                }
            }
        }
    }

    #[test]
    fn bytes_that_are_no_report_are_not_read_as_one() {
        for value in [vec![5], vec![5; usize::from(LONG)]] {
            let mut report = Report::default();
            report.begin(1, 2);
            append(&mut report, &value);
            let bytes = report.as_bytes();
            for len in 0..bytes.len() {
                let outcomes = Outcomes::of(&bytes[..len]);
                assert!(outcomes.is_none_or(|all| all.flatten().count() == 0), "{len} bytes");
            }
            assert_eq!(Outcomes::of(bytes).unwrap().flatten().count(), 1);
        }
    }
}

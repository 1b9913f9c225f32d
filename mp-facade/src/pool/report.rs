//! Reports: what travels from a worker to its pool, as bytes in queues.
//!
//! | a report, from a worker | bytes | |
//! |---|---|---|
//! | job, first | 16 | the job and the index of the first item; the others follow in the order in which the worker got them |
//! | outcomes | | for each item, 4 bytes of length, 1 of [`Kind`], and the encoded value or a text |

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

/// A report while a worker writes it.
#[derive(Debug, Default)]
pub(super) struct Report {
    bytes: Vec<u8>,
    count: u32,
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
        self.count = 0;
    }

    /// Appends an outcome. `encode` appends its bytes to those that it is passed, or returns why it cannot.
    pub(super) fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), (Kind, String)>) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0, 0, 0, Kind::Value as u8]);
        let before = self.bytes.len();
        if let Err((kind, reason)) = encode(&mut self.bytes) {
            self.bytes.truncate(before.saturating_sub(1));
            self.bytes.push(kind as u8);
            self.bytes.extend_from_slice(reason.as_bytes());
        }
        put_len(&mut self.bytes, at);
        self.count = self.count.saturating_add(1);
    }

    /// The number of outcomes.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

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
}

impl<'a> Iterator for Outcomes<'a> {
    /// `None` if the rest of the report cannot be understood.
    type Item = Option<(Kind, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let outcome = next_part(&mut self.bytes)
            .and_then(|part| part.split_first())
            .and_then(|(kind, payload)| Some((Kind::of(*kind)?, payload)));
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
    fn a_report_is_read_as_it_was_written() {
        let mut report = Report::default();
        for round in 0..2 {
            report.begin(3, 40 + round);
            report.push(|bytes| {
                bytes.extend_from_slice(&[1, 2]);
                Ok(())
            });
            report.push(|bytes| {
                bytes.push(9);
                Err((Kind::Panicked, "oh".to_owned()))
            });
            report.push(|_| Ok(()));
            let outcomes = Outcomes::of(report.as_bytes()).unwrap();
            assert_eq!((outcomes.job, outcomes.first, report.count()), (3, 40 + round, 3));
            let all: Vec<_> = outcomes.map(Option::unwrap).collect();
            assert_eq!(all, [(Kind::Value, &[1, 2][..]), (Kind::Panicked, b"oh"), (Kind::Value, b"")]);
        }
    }

    #[test]
    fn bytes_that_are_no_report_are_not_read_as_one() {
        let mut report = Report::default();
        report.begin(1, 2);
        report.push(|bytes| {
            bytes.push(5);
            Ok(())
        });
        let bytes = report.as_bytes();
        for len in 0..bytes.len() {
            let outcomes = Outcomes::of(&bytes[..len]);
            assert!(outcomes.is_none_or(|all| all.flatten().count() == 0), "{len} bytes");
        }
        let mut wrong = bytes.to_vec();
        wrong[20] = 200;
        assert_eq!(Outcomes::of(&wrong).unwrap().collect::<Vec<_>>(), [None]);
    }
}

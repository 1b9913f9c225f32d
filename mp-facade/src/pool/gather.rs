//! Collecting all results of a job, in order.

use std::collections::BTreeMap;

use mp_sys::deadline::Deadline;
use mp_sys::places::Places;
use serde::de::DeserializeOwned;

use crate::pool::chunk::{Chunk, TOGETHER};
use crate::pool::encoding;
use crate::pool::engine::Engine;
use crate::pool::error::{PoolError, TaskError};
use crate::pool::payload::Payload;
use crate::pool::rules::Division;

/// The outcomes of a job: a value for each item, or its error. Errors are rare and large, so they have a place of their own.
#[derive(Debug)]
pub(super) struct Gathered<R> {
    values: Places<R>,
    errors: BTreeMap<usize, TaskError>,
}

impl<R> Gathered<R> {
    /// Those of no item.
    pub(super) fn none() -> Self {
        Self { values: Places::new(0), errors: BTreeMap::new() }
    }

    /// Returns the values, or the first error.
    pub(super) fn values(mut self) -> Result<Vec<R>, PoolError> {
        match self.errors.pop_first() {
            Some((index, error)) => Err(PoolError::Task { index, error }),
            // Without an error, each item has its value.
            None => Ok(self.values.into_vec().unwrap_or_default()),
        }
    }

    /// Returns a value or an error for each item.
    pub(super) fn each(self) -> Vec<Result<R, TaskError>> {
        let Self { values, mut errors } = self;
        match values.into_vec() {
            Ok(values) => values.into_iter().map(Ok).collect(),
            Err(mut values) => {
                let places = 0..values.len();
                let outcome = |at| values.take(at).map(Ok).or_else(|| errors.remove(&at).map(Err));
                places.filter_map(outcome).collect()
            }
        }
    }
}

/// Hands out the indices from 0 up to `len` in chunks, and returns the outcome of each.
pub(super) fn all<R: DeserializeOwned>(
    engine: &mut Engine<'_>,
    len: usize,
    division: Division,
) -> Result<Gathered<R>, PoolError> {
    let (mut next, mut left) = (0_usize, len);
    let mut feed = |engine: &mut Engine<'_>| {
        while next < len && engine.wants_more() {
            let rest = len.saturating_sub(next);
            let count = division.next(rest).min(rest);
            let first = u64::try_from(next).unwrap_or(u64::MAX);
            engine.submit(Chunk::of_indices(TOGETHER, first, u32::try_from(count).unwrap_or(u32::MAX)));
            next = next.saturating_add(count);
        }
    };
    // The workers begin while this process gets memory for their results.
    feed(engine);
    engine.hand_out_now();
    let mut values = Places::new(len);
    let mut errors = BTreeMap::new();
    while left > 0 {
        feed(engine);
        engine.drive(Deadline::NEVER, &mut |_, index, outcome| {
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            match decoded(outcome.map(Payload::as_bytes)) {
                // The engine passes each item once.
                Ok(value) => drop(values.put(index, value)),
                Err(error) => drop(errors.insert(index, error)),
            }
            left = left.saturating_sub(1);
        })?;
    }
    Ok(Gathered { values, errors })
}

/// Decodes an outcome.
pub(super) fn decoded<R: DeserializeOwned>(outcome: Result<&[u8], TaskError>) -> Result<R, TaskError> {
    encoding::decode(outcome?).map_err(TaskError::Result)
}

//! Collecting all results of a job, in order.

use std::collections::BTreeMap;

use mp_sys::deadline::Deadline;
use serde::de::DeserializeOwned;

use crate::pool::chunk::{Chunk, TOGETHER};
use crate::pool::encoding;
use crate::pool::engine::Engine;
use crate::pool::error::{PoolError, TaskError};
use crate::pool::payload::Payload;

/// The outcomes of a job: a value for each item, or its error. Errors are rare and large, so they have a place of their own.
#[derive(Debug)]
pub(super) struct Gathered<R> {
    values: Vec<Option<R>>,
    errors: BTreeMap<usize, TaskError>,
}

impl<R> Gathered<R> {
    /// Those of no item.
    pub(super) fn none() -> Self {
        Self { values: Vec::new(), errors: BTreeMap::new() }
    }

    /// Returns the values, or the first error.
    pub(super) fn values(mut self) -> Result<Vec<R>, PoolError> {
        match self.errors.pop_first() {
            Some((index, error)) => Err(PoolError::Task { index, error }),
            // Without an error, each item has its value.
            None => Ok(self.values.into_iter().collect::<Option<Vec<R>>>().unwrap_or_default()),
        }
    }

    /// Returns a value or an error for each item.
    pub(super) fn each(mut self) -> Vec<Result<R, TaskError>> {
        let values = self.values.into_iter().enumerate();
        values.filter_map(|(at, value)| value.map(Ok).or_else(|| self.errors.remove(&at).map(Err))).collect()
    }
}

/// Hands out the indices from 0 up to `len` in chunks, and returns the outcome of each.
pub(super) fn all<R: DeserializeOwned>(
    engine: &mut Engine<'_>,
    len: usize,
    chunk: usize,
) -> Result<Gathered<R>, PoolError> {
    let mut values: Vec<Option<R>> = Vec::new();
    values.resize_with(len, || None);
    let mut errors = BTreeMap::new();
    let (mut next, mut left) = (0_usize, len);
    while left > 0 {
        while next < len && engine.wants_more() {
            let count = chunk.min(len.saturating_sub(next));
            let first = u64::try_from(next).unwrap_or(u64::MAX);
            engine.submit(Chunk::of_indices(TOGETHER, first, u32::try_from(count).unwrap_or(u32::MAX)));
            next = next.saturating_add(count);
        }
        engine.drive(Deadline::NEVER, &mut |_, index, outcome| {
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            let Some(place) = values.get_mut(index) else { return };
            match decoded(outcome.map(Payload::as_bytes)) {
                // The engine passes each item once.
                Ok(value) => *place = Some(value),
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

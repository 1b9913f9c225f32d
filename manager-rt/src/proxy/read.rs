//! How answers are read: one function for each form.
//!
//! Whatever an answer carries is either decoded or given back: else the manager would keep objects alive for this process
//! that it never heard of.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::backend::{Backend, CallError};
use crate::error::ObjectError;
use crate::proto::{Payload, Reply};
use crate::proxy::codec;
use crate::proxy::handle::size_of_count;

/// Gives back what came with an answer.
pub(super) fn discard(backend: &Arc<dyn Backend>, reply: &Reply<Payload>) {
    reply.each_value(&mut |value| codec::discard(backend, value));
}

/// An answer that no server of this version gives.
#[cold]
pub(super) fn unexpected<R>(backend: &Arc<dyn Backend>, reply: &Reply<Payload>) -> Result<R, ObjectError> {
    discard(backend, reply);
    Err(CallError::Protocol.into())
}

/// It is done; whatever was there before is given back.
pub(super) fn done(backend: &Arc<dyn Backend>, reply: Reply<Payload>) -> Result<(), ObjectError> {
    discard(backend, &reply);
    Ok(())
}

/// Yes or no.
pub(super) fn bool(backend: &Arc<dyn Backend>, reply: Reply<Payload>) -> Result<bool, ObjectError> {
    match reply {
        Reply::Bool(is) => Ok(is),
        other => unexpected(backend, &other),
    }
}

/// A count or a length.
pub(super) fn count(backend: &Arc<dyn Backend>, reply: Reply<Payload>) -> Result<usize, ObjectError> {
    match reply {
        Reply::Count(count) | Reply::Len { len: count, .. } => Ok(size_of_count(count)),
        other => unexpected(backend, &other),
    }
}

/// A value.
pub(super) fn value<T: DeserializeOwned>(
    backend: &Arc<dyn Backend>,
    reply: Reply<Payload>,
) -> Result<T, ObjectError> {
    match reply {
        Reply::Value(payload) | Reply::Before(payload) => codec::take(backend, &payload),
        other => unexpected(backend, &other),
    }
}

/// All of several values, decoded in turn: an error gives the others back.
pub(super) fn all<T: DeserializeOwned>(
    backend: &Arc<dyn Backend>,
    payloads: Vec<Payload>,
) -> Result<Vec<T>, ObjectError> {
    let mut values = Vec::with_capacity(payloads.len());
    let mut failed = None;
    for payload in payloads {
        if failed.is_some() {
            codec::discard(backend, &payload);
            continue;
        }
        match codec::take(backend, &payload) {
            Ok(value) => values.push(value),
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(values), Err)
}

/// What a compare and exchange says: it was done, or what there is.
pub(super) fn exchange<T: DeserializeOwned>(
    backend: &Arc<dyn Backend>,
    reply: Reply<Payload>,
) -> Result<Result<(), Option<T>>, ObjectError> {
    match reply {
        Reply::Bool(true) => Ok(Ok(())),
        Reply::Found(payload) => {
            Ok(Err(payload.map(|payload| codec::take(backend, &payload)).transpose()?))
        }
        other => unexpected(backend, &other),
    }
}

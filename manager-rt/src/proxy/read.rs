//! How answers are read: one function for each form.
//!
//! Whatever an answer carries is either decoded or given back: else the manager would keep objects alive for this process
//! that it never heard of.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::backend::{Backend, CallError};
use crate::count::index_of;
use crate::error::ObjectError;
use crate::proto::{Fault, Payload, Reply};
use crate::proxy::codec;

/// Gives back what came with an answer.
pub(crate) fn discard(backend: &Arc<dyn Backend>, reply: &Reply<Payload>) {
    reply.each_value(&mut |value| codec::discard(backend, value));
}

/// An answer that no server of this version gives.
#[cold]
pub(crate) fn unexpected<R>(backend: &Arc<dyn Backend>, reply: &Reply<Payload>) -> Result<R, ObjectError> {
    discard(backend, reply);
    Err(CallError::Protocol.into())
}

/// It is done; whatever was there before is given back.
pub(crate) fn done(backend: &Arc<dyn Backend>, reply: Reply<Payload>) -> Result<(), ObjectError> {
    discard(backend, &reply);
    Ok(())
}

/// Yes or no.
pub(crate) fn bool(backend: &Arc<dyn Backend>, reply: Reply<Payload>) -> Result<bool, ObjectError> {
    match reply {
        Reply::Bool(is) => Ok(is),
        other => unexpected(backend, &other),
    }
}

/// A count or a length.
pub(crate) fn count(backend: &Arc<dyn Backend>, reply: Reply<Payload>) -> Result<usize, ObjectError> {
    match reply {
        Reply::Count(count) | Reply::Len { len: count, .. } => Ok(index_of(count)),
        other => unexpected(backend, &other),
    }
}

/// A value.
pub(crate) fn value<T: DeserializeOwned>(
    backend: &Arc<dyn Backend>,
    reply: Reply<Payload>,
) -> Result<T, ObjectError> {
    match reply {
        Reply::Value(payload) | Reply::Before(payload) => codec::take(backend, &payload),
        other => unexpected(backend, &other),
    }
}

/// All of several values, decoded in turn: an error gives the others back.
pub(crate) fn all<T: DeserializeOwned>(
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
pub(crate) fn exchange<T: DeserializeOwned>(
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

/// A value, if there is one.
pub(crate) fn option<T: DeserializeOwned>(
    backend: &Arc<dyn Backend>,
    reply: Reply<Payload>,
) -> Result<Option<T>, ObjectError> {
    match reply {
        Reply::Option(payload) => payload.map(|payload| codec::take(backend, &payload)).transpose(),
        other => unexpected(backend, &other),
    }
}

/// Several values, and the number or place that belongs to them.
pub(crate) fn page<T: DeserializeOwned>(
    backend: &Arc<dyn Backend>,
    reply: Reply<Payload>,
) -> Result<(Vec<T>, u64), ObjectError> {
    match reply {
        Reply::Values { values, version } => Ok((all(backend, values)?, version)),
        other => unexpected(backend, &other),
    }
}

/// An entry, if there is one.
pub(crate) fn entry<K: DeserializeOwned, V: DeserializeOwned>(
    backend: &Arc<dyn Backend>,
    reply: Reply<Payload>,
) -> Result<Option<(K, V)>, ObjectError> {
    match reply {
        Reply::Entry(None) => Ok(None),
        Reply::Entry(Some((key, value))) => both(backend, &key, &value).map(Some),
        other => unexpected(backend, &other),
    }
}

/// Several entries, and the place of the last one.
pub(crate) fn entries<K: DeserializeOwned, V: DeserializeOwned>(
    backend: &Arc<dyn Backend>,
    reply: Reply<Payload>,
) -> Result<(Vec<(K, V)>, u64), ObjectError> {
    let Reply::Entries { entries, place } = reply else { return unexpected(backend, &reply) };
    // Each is decoded or given back, also behind one that fails.
    let decoded: Vec<_> = entries.iter().map(|(key, value)| both(backend, key, value)).collect();
    Ok((decoded.into_iter().collect::<Result<_, _>>()?, place))
}

fn both<K: DeserializeOwned, V: DeserializeOwned>(
    backend: &Arc<dyn Backend>,
    key: &Payload,
    value: &Payload,
) -> Result<(K, V), ObjectError> {
    let (key, value) = (codec::take(backend, key), codec::take(backend, value));
    Ok((key?, value?))
}

/// Whether an object had changed since it was looked at.
pub(crate) fn has_changed(error: &ObjectError) -> bool {
    matches!(error, ObjectError::Call(CallError::Fault(Fault::Changed)))
}

/// As [`exchange`], of something that always has a value.
pub(crate) fn exchange_value<T: DeserializeOwned>(
    backend: &Arc<dyn Backend>,
    reply: Reply<Payload>,
) -> Result<Result<(), T>, ObjectError> {
    match exchange(backend, reply)? {
        Ok(()) => Ok(Ok(())),
        Err(Some(found)) => Ok(Err(found)),
        Err(None) => Err(CallError::Protocol.into()),
    }
}

//! Reading answers: one function for each form.
//!
//! Everything that an answer carries is either decoded or released. Otherwise the manager would keep objects alive on
//! behalf of a process that does not know them.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::backend::{Backend, CallError};
use crate::count::index_of;
use crate::error::ObjectError;
use crate::proto::{Fault, Payload, Reply};
use crate::proxy::codec;

/// Releases what came with an answer.
pub(crate) fn discard(backend: &Arc<dyn Backend>, reply: &Reply<Payload>) {
    reply.each_value(&mut |value| codec::discard(backend, value));
}

/// Rejects an answer that no server of this version sends.
#[cold]
pub(crate) fn unexpected<R>(backend: &Arc<dyn Backend>, reply: &Reply<Payload>) -> Result<R, ObjectError> {
    discard(backend, reply);
    Err(CallError::Protocol.into())
}

/// Reads a confirmation. If a previous value came with it, its references are released.
pub(crate) fn done(backend: &Arc<dyn Backend>, reply: Reply<Payload>) -> Result<(), ObjectError> {
    discard(backend, &reply);
    Ok(())
}

/// Reads a `bool`.
pub(crate) fn bool(backend: &Arc<dyn Backend>, reply: Reply<Payload>) -> Result<bool, ObjectError> {
    match reply {
        Reply::Bool(is) => Ok(is),
        other => unexpected(backend, &other),
    }
}

/// Reads a count or a length.
pub(crate) fn count(backend: &Arc<dyn Backend>, reply: Reply<Payload>) -> Result<usize, ObjectError> {
    match reply {
        Reply::Count(count) | Reply::Len { len: count, .. } => Ok(index_of(count)),
        other => unexpected(backend, &other),
    }
}

/// Reads names.
pub(crate) fn names(backend: &Arc<dyn Backend>, reply: Reply<Payload>) -> Result<Vec<String>, ObjectError> {
    match reply {
        Reply::Names(names) => Ok(names),
        other => unexpected(backend, &other),
    }
}

/// Reads a value.
pub(crate) fn value<T: DeserializeOwned>(
    backend: &Arc<dyn Backend>,
    reply: Reply<Payload>,
) -> Result<T, ObjectError> {
    match reply {
        Reply::Value(payload) | Reply::Before(payload) => codec::take(backend, &payload),
        other => unexpected(backend, &other),
    }
}

/// Decodes several values in turn. After an error, the remaining ones are released.
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

/// Reads the answer to a compare-and-exchange: success, or the current value.
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

/// Reads an optional value.
pub(crate) fn option<T: DeserializeOwned>(
    backend: &Arc<dyn Backend>,
    reply: Reply<Payload>,
) -> Result<Option<T>, ObjectError> {
    match reply {
        Reply::Option(payload) => payload.map(|payload| codec::take(backend, &payload)).transpose(),
        other => unexpected(backend, &other),
    }
}

/// Reads several values, and the number or place that comes with them.
pub(crate) fn page<T: DeserializeOwned>(
    backend: &Arc<dyn Backend>,
    reply: Reply<Payload>,
) -> Result<(Vec<T>, u64), ObjectError> {
    match reply {
        Reply::Values { values, version } => Ok((all(backend, values)?, version)),
        other => unexpected(backend, &other),
    }
}

/// Reads an optional entry.
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

/// Reads several entries, and the place of the last one.
pub(crate) fn entries<K: DeserializeOwned, V: DeserializeOwned>(
    backend: &Arc<dyn Backend>,
    reply: Reply<Payload>,
) -> Result<(Vec<(K, V)>, u64), ObjectError> {
    let Reply::Entries { entries, place } = reply else { return unexpected(backend, &reply) };
    // Each value is decoded or released, even after one that fails.
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

/// Returns `true` if the error says that the object changed since it was read.
pub(crate) fn has_changed(error: &ObjectError) -> bool {
    matches!(error, ObjectError::Call(CallError::Fault(Fault::Changed)))
}

/// Like [`exchange`], for an object that always has a value.
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

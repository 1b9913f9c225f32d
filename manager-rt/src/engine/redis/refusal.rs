//! What Redis refuses, and why.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::connection::OpenError;
use crate::backend::CallError;
use crate::proto::{Answer, Fault, Payload};

/// Returns whether Redis does not know a script.
pub(super) fn lacks_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Returns whether Redis writes nothing, since another one has taken over.
pub(super) fn is_demoted(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

/// Returns why an operation failed that Redis refused.
pub(super) fn failed(error: &RedisError) -> Result<Answer<Payload>, CallError> {
    if is_full(error) { Ok(Err(Fault::NoSpace)) } else { Err(refused(error)) }
}

/// Returns whether Redis refused something because its memory is full.
pub(super) fn is_full(error: &RedisError) -> bool {
    error.code() == Some("OOM") || error.detail().is_some_and(|detail| detail.contains("OOM "))
}

/// Returns why Redis did nothing.
pub(super) fn refused(error: &RedisError) -> CallError {
    tracing::debug!(%error, "Redis refused an operation");
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm), _)
        | (_, Some("NOAUTH" | "WRONGPASS")) => CallError::Unauthorised,
        (
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::ClusterDown,
            ),
            _,
        )
        | (_, Some("BUSY" | "MISCONF" | "NOREPLICAS")) => CallError::ServerGone,
        _ => CallError::Protocol,
    }
}

/// Returns why there is no connection.
pub(super) fn unreachable_by(error: &OpenError) -> CallError {
    match error {
        OpenError::Redis(error) if !error.is_io_error() => refused(error),
        _ => CallError::ServerGone,
    }
}

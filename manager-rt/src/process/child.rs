//! The main function of a server's process.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::key::wipe;
use mp_sys::reexec::Handed;
use mp_sys::signals::ignore_shutdown;

use super::detached::Beginning;
use super::{Order, PACKET_BYTES_MAX, PassedKey, Word, detached, folder, send, word_in};
use crate::count::{count_of, index_of};
use crate::limits::START_TIME_MAX;
use crate::server::{BindError, Server, ServerBuilder};

pub(super) const FAILED: i32 = 1;

/// Serves until the parent ends, or a client asks the server to end. Returns the exit code.
pub(super) fn serve(handed: Handed) -> i32 {
    // Ctrl-C and service managers signal every process of a program. The server ignores that, and ends with its parent.
    ignore_shutdown();
    let Some(order) = order_of(&handed) else { return FAILED };
    let parent = handed.parent().as_fd().try_clone_to_owned();
    report_and_serve(&order, handed, parent.map_err(|error| Word::Failed(error.to_string())), None)
}

/// Serves until the server is idle for as long as it may be, or is asked to end by a client or a signal. Returns the exit code.
pub(super) fn serve_detached(handed: Handed) -> i32 {
    let Ok(beginning) = Beginning::new(&handed) else { return FAILED };
    let Some(order) = order_of(&handed) else { return FAILED };
    let ends = detached::separate().map_err(|error| Word::Failed(error.to_string()));
    report_and_serve(&order, handed, ends, Some(beginning))
}

/// Serves until `ends` is readable, or a client asks the server to end.
fn report_and_serve(
    order: &Order,
    handed: Handed,
    ends: Result<OwnedFd, Word>,
    beginning: Option<Beginning>,
) -> i32 {
    let folder = order.is_private.then(|| folder::hold(order.path.as_ref())).transpose();
    let outcome = match &folder {
        Ok(_) => ends.and_then(|ends| set_up(order, ends)),
        Err(error) => Err(Word::Failed(format!("its folder is gone: {error}"))),
    };
    let deadline = Deadline::after(START_TIME_MAX);
    let server = match outcome {
        Ok(server) => {
            // If the report reaches nobody, the parent is gone, and the server ends at once.
            let serves = Word::Serves { clients: count_of(server.clients_max()), tcp: tcp_address(&server) };
            let told = send(handed.endpoint(), &serves, deadline);
            tracing::debug!(?told, "the server can serve");
            server
        }
        Err(why) => {
            let told = send(handed.endpoint(), &why, deadline);
            tracing::debug!(?told, "the server cannot serve");
            return FAILED;
        }
    };
    if beginning.is_some_and(|beginning| !beginning.ends_well(&handed)) {
        tracing::debug!("nobody waits for the server any more");
        return FAILED;
    }
    drop::<Handed>(handed);
    let served = server.serve();
    if order.is_private {
        folder::remove_of(order.path.as_ref());
    }
    match served {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!(%error, "the server ends");
            error.raw_os_error()
        }
    }
}

/// Returns the parent's settings, if the parent lives long enough to send them.
pub(super) fn order_of(handed: &Handed) -> Option<Order> {
    let mut packet = [0; PACKET_BYTES_MAX];
    let order = match handed.receive(&mut packet, Deadline::after(START_TIME_MAX)) {
        Ok(received) => word_in(&packet, received.body_len),
        Err(error) => {
            tracing::debug!(%error, "the server received no settings");
            None
        }
    };
    // The packet contained the key.
    wipe(&mut packet);
    order
}

/// Returns the address at which other hosts reach the server.
#[cfg(feature = "tcp")]
fn tcp_address(server: &Server) -> Option<String> {
    server.tcp_addresses().first().map(ToString::to_string)
}

/// Returns nothing, since this build has no connections between hosts.
#[cfg(not(feature = "tcp"))]
const fn tcp_address(_server: &Server) -> Option<String> {
    None
}

fn set_up(order: &Order, ends: OwnedFd) -> Result<Server, Word> {
    let builder = ServerBuilder::default()
        .key(order.key.clone())
        .memory_bytes_max(index_of(order.memory_bytes))
        .ends_with(ends);
    let keys = order.other_keys.iter().map(|PassedKey(key)| key.clone());
    let builder = keys.fold(builder, ServerBuilder::also_accept);
    let builder = match order.client_memory_bytes {
        Some(bytes) => builder.client_memory_bytes_max(index_of(bytes)),
        None => builder,
    };
    let builder = match order.clients {
        Some(clients) => builder.clients_max(index_of(clients)),
        None => builder,
    };
    let builder = match order.idle_nanos {
        Some(nanos) => builder.idle_end(Duration::from_nanos(nanos)),
        None => builder,
    };
    let builder = match &order.restore {
        Some(path) => builder.restore(path),
        None => builder,
    };
    let builder = match &order.keep {
        Some(path) => builder.keep(path),
        None => builder,
    };
    let builder = match order.keep_every_nanos {
        Some(nanos) => builder.keep_every(Duration::from_nanos(nanos)),
        None => builder,
    };
    #[cfg(feature = "tcp")]
    let builder = order
        .tcp
        .iter()
        .try_fold(builder, |builder, address| builder.tcp(address))
        .map_err(|error| Word::Failed(error.to_string()))?;
    builder.bind(&order.path).map_err(|error| match error {
        BindError::Exists => Word::Exists,
        BindError::Restore(error) => Word::NotRestored(error.to_string()),
        // The error of the start says that it cannot listen.
        BindError::Tcp { address, error } => Word::Failed(format!("{address}: {error}")),
        error => Word::Failed(error.to_string()),
    })
}

//! Keepers: processes that do something for their owner beside it, and notice its end.
//!
//! A thread would make every later `fork` of the program refuse, and would be stopped with the program's other threads. So the program
//! executes itself again (see `mp_sys::reexec`), and gives the other process its order.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use mp_sys::child::ChildProcess;
use mp_sys::deadline::Deadline;
use mp_sys::key::wipe;
use mp_sys::reexec::{Command, Entry, Handed, StartError};
use mp_sys::robust::Patience;
use mp_sys::signals::ignore_shutdown;
use mp_sys::socket::{Endpoint, Head, OVERHEAD_BYTES};
use rustix::io::Errno;
use rustix::process::setpgid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::OsError;

/// How long a keeper may take to receive its order, or something else of its owner.
pub(super) const ORDER_TIME_MAX: Duration = Duration::from_secs(60);
/// The longest order, in bytes: addresses and passwords.
const ORDER_BYTES_MAX: usize = 32 << 10;

/// Starts a keeper, and sends it its order with these descriptors. Does not wait until it runs.
///
/// # Errors
/// Those of the system calls; `EPIPE` if the keeper has ended.
pub(super) fn start(
    main: Entry,
    head: Head,
    order: &impl Serialize,
    files: &[BorrowedFd<'_>],
) -> Result<(ChildProcess, Endpoint), OsError> {
    let started = Command::new(main).and_then(|command| command.label("keeper").mute().start());
    let (child, endpoint) = started.map_err(|error| not_started(&error))?;
    // Memory that grows would leave copies of the password behind.
    let mut body = vec![0; ORDER_BYTES_MAX];
    let sent = match postcard::to_slice(order, &mut body) {
        Ok(body) => hand_over(&endpoint, head, body, files),
        Err(_) => Err(Errno::MSGSIZE.into()),
    };
    wipe(&mut body);
    sent?;
    Ok((child, endpoint))
}

/// Sends something to a keeper.
///
/// # Errors
/// `EPIPE` if the keeper has ended, or does not receive it in time.
pub(super) fn hand_over(
    endpoint: &Endpoint,
    head: Head,
    body: &[u8],
    files: &[BorrowedFd<'_>],
) -> Result<(), OsError> {
    let patience = Patience::Until(Deadline::after(ORDER_TIME_MAX));
    let sent = endpoint.send(head, &mut [0; OVERHEAD_BYTES], body, files, patience);
    sent.map_err(|error| {
        tracing::debug!(?error, "a keeper received nothing");
        Errno::PIPE.into()
    })
}

fn not_started(error: &StartError) -> OsError {
    tracing::warn!(%error, "there is no keeper");
    match error {
        StartError::NotExecutable(error) | StartError::System(error) => *error,
        StartError::OutOfProcesses => Errno::AGAIN.into(),
        StartError::OutOfMemory => Errno::NOMEM.into(),
        StartError::OutOfDescriptors => Errno::MFILE.into(),
        StartError::Privileged => Errno::PERM.into(),
        _ => Errno::OPNOTSUPP.into(),
    }
}

/// Begins the main function of a keeper: returns its order, and the descriptors that came with it.
pub(super) fn begin<T: DeserializeOwned>(handed: &Handed) -> Option<(T, Vec<OwnedFd>)> {
    // Ctrl-C and service managers signal every process of a program. The keeper outlives its owner, if only for a moment.
    ignore_shutdown();
    // Ctrl-Z stops every process of the group. The owner keeps what it holds then, and stays in the group.
    let grouped = setpgid(None, None);
    tracing::trace!(?grouped, "the keeper has a process group of its own");
    let mut packet = vec![0; ORDER_BYTES_MAX.saturating_add(OVERHEAD_BYTES)];
    let received = handed.receive(&mut packet, Deadline::after(ORDER_TIME_MAX)).ok();
    let order = received.and_then(|received| {
        let body = packet.get(OVERHEAD_BYTES..OVERHEAD_BYTES.checked_add(received.body_len)?)?;
        Some((postcard::from_bytes(body).ok()?, received.descriptors))
    });
    wipe(&mut packet);
    order
}

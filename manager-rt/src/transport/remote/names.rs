//! Looking up the name of a host within a time.
//!
//! The system's resolver waits for its servers for as long as its configuration says, and cannot be interrupted. A thread for
//! that would live on after the timeout, and every fork would refuse until its end. So a process of its own looks up the
//! name, and is killed when the time is over. It executes this program again, as the process of a server does.
//!
//! An address is no name. If no process can be started, this one looks up the name itself, for however long that takes.

use std::net::{IpAddr, SocketAddr, SocketAddrV6, ToSocketAddrs};

use mp_sys::child::ChildProcess;
use mp_sys::deadline::Deadline;
use mp_sys::reexec::{Command, Entry, Handed, HelloError, first_packet};
use mp_sys::robust::Patience;
use mp_sys::socket::{Head, OVERHEAD_BYTES};
use rustix::process::Signal;

use crate::address::HostPort;
use crate::limits::HOST_BYTES_MAX;
use crate::transport::OpenError;

/// The most addresses of one host that are tried.
const ADDRESSES_MAX: usize = 64;
/// The longest message of the process that looks up a name: the addresses, of at most 24 bytes each.
const PACKET_BYTES_MAX: usize = OVERHEAD_BYTES + 4 + 24 * ADDRESSES_MAX;
const HEAD: Head = Head { word: u32::from_le_bytes(*b"name"), long: 1 };

/// An address, and the number of the interface, without which some addresses of version 6 mean nothing.
type Address = (IpAddr, u32);

/// Returns the addresses of a host.
///
/// # Errors
/// [`OpenError::UnknownHost`]; [`OpenError::TimedOut`].
pub(super) fn addresses_of(at: &HostPort, deadline: Deadline) -> Result<Vec<SocketAddr>, OpenError> {
    let (host, port) = (at.host(), at.port());
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = if deadline.is_never() { None } else { in_time(answer, host, deadline)? };
    let found = found.unwrap_or_else(|| look_up(host));
    if found.is_empty() {
        return Err(OpenError::UnknownHost);
    }
    let with_port = |(address, scope)| match address {
        IpAddr::V4(address) => SocketAddr::from((address, port)),
        IpAddr::V6(address) => SocketAddrV6::new(address, port, 0, scope).into(),
    };
    Ok(found.into_iter().map(with_port).collect())
}

/// Looks up a name, for however long that takes. Returns no address if there is none.
fn look_up(host: &str) -> Vec<Address> {
    let without_port = |address| match address {
        SocketAddr::V4(address) => (IpAddr::V4(*address.ip()), 0),
        SocketAddr::V6(address) => (IpAddr::V6(*address.ip()), address.scope_id()),
    };
    let found = (host, 0).to_socket_addrs().into_iter().flatten();
    found.take(ADDRESSES_MAX).map(without_port).collect()
}

/// Lets another process look up a name, whose main function is `answer`. Returns `None` if there is no such process.
///
/// # Errors
/// [`OpenError::TimedOut`].
fn in_time(answer: Entry, host: &str, deadline: Deadline) -> Result<Option<Vec<Address>>, OpenError> {
    let started = Command::new(answer).and_then(|command| command.label("name of a host").silent().start());
    let Ok((child, endpoint)) = started else { return Ok(None) };
    let sent = endpoint.send(HEAD, &mut [0; OVERHEAD_BYTES], host.as_bytes(), &[], Patience::Until(deadline));
    tracing::debug!(?sent, "looking up the name of a host");
    let mut packet = [0; PACKET_BYTES_MAX];
    let received = first_packet(&child, &endpoint, &mut packet, deadline);
    end(&child);
    match received {
        Ok(received) => {
            Ok(body_of(&packet, received.body_len).and_then(|body| postcard::from_bytes(body).ok()))
        }
        Err(HelloError::TimedOut) => Err(OpenError::TimedOut),
        Err(error) => {
            tracing::debug!(%error, "the process that looks up a name has failed");
            Ok(None)
        }
    }
}

/// Ends the process, and reaps it.
fn end(child: &ChildProcess) {
    let killed = child.signal(Signal::KILL.as_raw());
    let ended = child.wait(Deadline::NEVER);
    tracing::debug!(?killed, ?ended, "a name was looked up");
}

fn body_of(packet: &[u8], body_len: usize) -> Option<&[u8]> {
    packet.get(OVERHEAD_BYTES..OVERHEAD_BYTES.checked_add(body_len)?)
}

/// The main function of the process.
fn answer(handed: Handed) -> i32 {
    let mut packet = [0; OVERHEAD_BYTES + HOST_BYTES_MAX];
    let Ok(received) = handed.receive(&mut packet, Deadline::NEVER) else { return 1 };
    let host = body_of(&packet, received.body_len).and_then(|body| std::str::from_utf8(body).ok());
    let addresses = host.map(look_up).unwrap_or_default();
    let mut body = [0; PACKET_BYTES_MAX - OVERHEAD_BYTES];
    let Ok(body) = postcard::to_slice(&addresses, &mut body) else { return 1 };
    let patience = Patience::Until(Deadline::NEVER);
    let sent = handed.endpoint().send(HEAD, &mut [0; OVERHEAD_BYTES], body, &[], patience);
    i32::from(sent.is_err())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mp_sys::testing::PATIENCE;

    use super::*;

    /// A resolver whose servers do not answer.
    fn hang(handed: Handed) -> i32 {
        let ended = handed.parent().wait(Deadline::NEVER);
        i32::from(ended.is_err())
    }

    fn fail(_: Handed) -> i32 {
        3
    }

    #[test]
    fn a_name_that_takes_too_long_ends_with_the_time() {
        let soon = Deadline::after(Duration::from_millis(50));
        assert!(matches!(in_time(hang, "host", soon), Err(OpenError::TimedOut)));
        assert!(soon.has_passed());
    }

    #[test]
    fn names_are_looked_up_in_another_process_or_here() {
        let found = in_time(answer, "localhost", Deadline::after(PATIENCE)).unwrap().unwrap();
        assert!(!found.is_empty() && found.iter().all(|(address, _)| address.is_loopback()), "{found:?}");
        assert_eq!(look_up("localhost"), found);
        assert!(matches!(in_time(fail, "localhost", Deadline::after(PATIENCE)), Ok(None)));
    }
}

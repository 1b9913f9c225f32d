//! What a stream between two hosts needs, and a local one does not.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt;

use crate::OsError;

/// The shortest time after which a peer can count as lost. The kernel counts these times in seconds.
pub const LOST_AFTER_MIN: Duration = Duration::from_secs(2);
/// The longest time after which a peer can count as lost: the kernel accepts no longer pauses between two questions.
pub const LOST_AFTER_MAX: Duration = Duration::from_secs(32_767);
/// The kernel asks the peer this many times before it counts as lost.
const QUESTIONS: u64 = 5;

/// Returns `true` for an error that only a network has: the other side cannot be reached, or has not answered in time.
#[must_use]
pub fn is_of_network(error: Errno) -> bool {
    [
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::NETDOWN,
        Errno::NETRESET,
        Errno::NETUNREACH,
        Errno::NONET,
        Errno::TIMEDOUT,
    ]
    .contains(&error)
}

/// Sets up a TCP socket whose small messages are sent at once, and whose other side counts as lost if it has not answered the
/// kernel for this long. After that, reads and writes return an error (`ETIMEDOUT`).
///
/// The kernel of the other side answers, so a stopped process does not count as lost. But a peer whose kernel has no
/// more room for what it does not read counts as lost, too.
///
/// # Errors
/// Those of setsockopt(2).
///
/// # Source
/// tcp(7): `TCP_NODELAY`, `TCP_KEEPIDLE`, `TCP_KEEPINTVL`, `TCP_USER_TIMEOUT`.
pub fn set_up_remote(file: BorrowedFd<'_>, lost_after: Duration) -> Result<(), OsError> {
    let lost_after = lost_after.clamp(LOST_AFTER_MIN, LOST_AFTER_MAX);
    let pause = Duration::from_secs(lost_after.as_secs().checked_div(QUESTIONS).unwrap_or(1).max(1));
    // The kernel looks at this time only when it asks, so the last question comes one pause before.
    let silence = lost_after.saturating_sub(pause);
    let millis = u32::try_from(silence.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_nodelay(file, true)?;
    sockopt::set_socket_keepalive(file, true)?;
    sockopt::set_tcp_keepidle(file, pause)?;
    sockopt::set_tcp_keepintvl(file, pause)?;
    sockopt::set_tcp_user_timeout(file, millis)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_peer_is_asked_several_times_before_it_counts_as_lost() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let file = socket.as_fd();
        for (lost_after, pause, silence) in [
            (Duration::from_secs(10), 2, 8_000),
            (Duration::ZERO, 1, 1_000),
            (Duration::from_millis(7_500), 1, 6_500),
            (LOST_AFTER_MAX + Duration::from_secs(1), 6_553, 26_214_000),
        ] {
            set_up_remote(file, lost_after).unwrap();
            assert!(sockopt::tcp_nodelay(file).unwrap() && sockopt::socket_keepalive(file).unwrap());
            assert_eq!(sockopt::tcp_keepidle(file).unwrap(), Duration::from_secs(pause));
            assert_eq!(sockopt::tcp_keepintvl(file).unwrap(), Duration::from_secs(pause));
            assert_eq!(sockopt::tcp_user_timeout(file).unwrap(), silence);
        }
    }
}

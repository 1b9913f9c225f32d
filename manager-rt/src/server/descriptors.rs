//! The descriptors that a server needs: one for each connection. Besides its clients, these are the peers in the
//! handshake, and the sockets of bequests, which forked processes inherit.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::HANDSHAKES_MAX;

/// Descriptors for anything besides connections: the socket, what reports events, and logging.
const SPARE: usize = 32;
/// Out of this many descriptors for connections, one is for a peer in the handshake, if there are few.
const HANDSHAKE_SHARE: usize = 8;
/// Out of this many descriptors for connections, one is for a bequest, if there are few.
const BEQUEST_SHARE: usize = 16;

/// How many connections a server can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// The most clients.
    pub(super) clients: usize,
    /// The most peers in the handshake.
    pub(super) handshakes: usize,
    /// The most bequests.
    pub(super) bequests: usize,
}

impl Room {
    /// Makes room for this many clients: raises the soft limit of this process (`RLIMIT_NOFILE`), up to the hard limit.
    /// Returns less room if that is not enough.
    pub(super) fn make(clients: usize) -> Self {
        let used = used();
        // Each client may have a bequest.
        let wanted = clients.saturating_mul(2).saturating_add(HANDSHAKES_MAX).saturating_add(used);
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let number =
            |limit: Option<u64>| limit.map_or(usize::MAX, |limit| limit.try_into().unwrap_or(usize::MAX));
        let mut limit = number(current);
        if limit < wanted {
            let raised = wanted.min(number(maximum));
            let current = Some(u64::try_from(raised).unwrap_or(u64::MAX));
            match setrlimit(Resource::Nofile, Rlimit { current, maximum }) {
                Ok(()) => limit = raised,
                Err(error) => tracing::debug!(%error, "the limit of descriptors stays"),
            }
        }
        Self::within(limit.saturating_sub(used), clients)
    }

    /// Divides this many descriptors between clients, peers in the handshake, and bequests. If they are not enough for
    /// all, clients come first, but the others have a share.
    fn within(descriptors: usize, clients: usize) -> Self {
        let handshakes = (descriptors / HANDSHAKE_SHARE).clamp(1, HANDSHAKES_MAX);
        let bequests = (descriptors / BEQUEST_SHARE).min(clients);
        let clients = clients.min(descriptors.saturating_sub(handshakes).saturating_sub(bequests));
        let rest = descriptors.saturating_sub(clients);
        let handshakes = handshakes.max(rest.saturating_sub(bequests).min(HANDSHAKES_MAX));
        let bequests = rest.saturating_sub(handshakes).min(clients);
        Self { clients, handshakes, bequests }
    }
}

/// Returns how many descriptors this process uses already, and may need for other things.
fn used() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    open.saturating_add(SPARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_have_room_up_to_the_limit_of_descriptors() {
        let room = |descriptors, clients| {
            let Room { clients, handshakes, bequests } = Room::within(descriptors, clients);
            assert!(clients + handshakes + bequests <= descriptors.max(1));
            (clients, handshakes, bequests)
        };
        assert_eq!(room(30_000, 10_000), (10_000, HANDSHAKES_MAX, 10_000), "more than enough");
        assert_eq!(room(20_000 + HANDSHAKES_MAX, 10_000), (10_000, HANDSHAKES_MAX, 10_000), "just enough");
        assert_eq!(room(16_000, 10_000), (10_000, HANDSHAKES_MAX, 3_952), "fewer bequests");
        assert_eq!(room(12_800, 10_000), (10_000, 2_000, 800), "fewer peers in the handshake, too");
        assert_eq!(room(8_000, 10_000), (6_500, 1_000, 500), "fewer of all");
        assert_eq!(room(0, 10), (0, 1, 0));
    }
}

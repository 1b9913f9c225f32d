//! Clients that do not read their answers, or do not complete their records: when they have to go.

use std::sync::Arc;

use super::EventLoop;
use crate::account::Account;

impl EventLoop {
    /// Disconnects the clients whose unread answers take the most memory, while all of them together take far too much.
    /// Returns `true` if any was disconnected.
    pub(super) fn relieve(&mut self) -> bool {
        let mut has_relieved = self.relieve_of_records();
        while take_too_much(&self.unsent) {
            // Long values do not count: they belong to their objects, and a client may just be reading one.
            // Nor does the memory that a client which has read everything keeps for its next answers.
            let behind = self.peers.iter().filter(|(_, peer)| !peer.outbound.is_empty());
            let behind = behind.max_by_key(|(_, peer)| peer.outbound.charged());
            let Some((slot, peer)) = behind.filter(|(_, peer)| peer.outbound.charged() > 0) else { break };
            has_relieved = true;
            tracing::warn!(
                bytes = peer.outbound.len(),
                "a client does not read its answers: it is disconnected"
            );
            self.close(slot, false);
        }
        has_relieved
    }

    /// Disconnects the clients on other hosts that have completed no record for the longest time, while the incomplete records
    /// of all of them together take too much. A record cannot be used or refused before it is complete.
    fn relieve_of_records(&mut self) -> bool {
        let mut has_relieved = false;
        while self.sealed.used() > self.sealed.limit() || has_no_room_for(&self.sealed) {
            let incomplete =
                self.peers.iter().filter_map(|(slot, peer)| Some((peer.incomplete_since()?, slot)));
            let Some((_, slot)) = incomplete.min() else { break };
            has_relieved = true;
            tracing::warn!("a client on another host does not complete a record: it is disconnected");
            self.close(slot, false);
        }
        has_relieved
    }
}

/// Returns `true` if the unread answers of all clients take so much that some clients have to go: twice what they may take,
/// or their part of the reserve if the manager is so full that others need the rest.
fn take_too_much(unsent: &Arc<Account>) -> bool {
    unsent.used() > unsent.limit().saturating_mul(2) || has_no_room_for(unsent)
}

/// Returns `true` if a manager is so full that others need what these take of the reserve.
fn has_no_room_for(these: &Arc<Account>) -> bool {
    let whole = these.whole();
    let least = whole.reserve().saturating_sub(whole.reserve_without_answers());
    let others = whole.limit().saturating_add(whole.reserve_without_answers());
    whole.used() > others && these.used() > least
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{TryRecvError, channel};

    use super::*;
    use crate::limits::{RESERVE_ANSWERS_SHARE, UNSENT_BYTES_MAX, UNSENT_SHARE};
    use crate::server::Server;
    use crate::state::{Limits, State};
    use crate::tests::plain_client::Client;

    #[test]
    fn unread_answers_take_up_to_their_limit_and_not_one_byte_more() {
        for memory_bytes in [16 << 20, 0] {
            let state = State::new(Limits { memory_bytes, ..Limits::default() });
            let unsent = state.answer_account();
            assert_eq!(unsent.limit(), UNSENT_BYTES_MAX.max(memory_bytes / UNSENT_SHARE));
            let whole = unsent.whole();
            let values = whole.charge(whole.limit());
            // Only in a full manager is their part of the reserve a limit.
            let answers = whole.reserve() / RESERVE_ANSWERS_SHARE;
            let mut charge = unsent.charge(answers);
            let mut others = whole.charge(whole.reserve() - answers);
            assert!(!take_too_much(&unsent));
            charge.set(answers + 1);
            assert!(take_too_much(&unsent));
            others.set(0);
            assert!(!take_too_much(&unsent), "others have room");
            drop(values);
            charge.set(2 * unsent.limit());
            assert_eq!(take_too_much(&unsent), memory_bytes == 0, "they alone use the reserve up");
            charge.set(2 * unsent.limit() + 1);
            assert!(take_too_much(&unsent));
        }
    }

    /// Its buffer is kept for its next answers. In a full manager, that memory seems to be answers that it does not read.
    #[test]
    fn a_client_that_has_read_everything_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let mut server = Server::bind(&path).unwrap();
        let (stopper, (sender, receiver)) = (server.stopper(), channel());
        let connect = move || {
            let mut client = Client::connect(&path, b"").unwrap();
            client.ping();
            sender.send(client).unwrap();
            // Ends the round in which the server waits for more.
            stopper.stop();
        };
        let connecting = std::thread::Builder::new().spawn(connect).unwrap();
        let mut events = mio::Events::with_capacity(8);
        let _client = loop {
            match receiver.try_recv() {
                Err(TryRecvError::Empty) => server.work.round(&mut events).unwrap(),
                client => break client.unwrap(),
            }
        };
        connecting.join().unwrap();
        let kept =
            |work: &EventLoop| work.peers.iter().map(|(_, peer)| peer.outbound.charged()).sum::<usize>();
        assert!(kept(&server.work) > 0);
        let unsent = Arc::clone(&server.work.unsent);
        let whole = unsent.whole();
        let _full = whole.charge(whole.limit().saturating_add(whole.reserve()));
        let _unread = unsent.charge(whole.reserve());
        assert!(take_too_much(&unsent));
        assert!(!server.work.relieve());
        assert_eq!(server.work.peers(), 1);
    }
}

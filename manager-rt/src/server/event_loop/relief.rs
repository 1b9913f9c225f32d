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

    /// Does the same after a turn: many clients that read nothing could take far too much in one round, and new connections would
    /// find no room.
    pub(super) fn relieve_early(&mut self) {
        if take_too_much(&self.unsent) {
            self.flush();
            self.relieve();
        }
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
pub(super) fn take_too_much(unsent: &Arc<Account>) -> bool {
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
pub(super) mod tests {
    use std::io::Write;
    use std::path::Path;
    use std::sync::mpsc::{TryRecvError, channel};

    use mio::Events;

    use super::*;
    use crate::account::Charge;
    use crate::limits::{RESERVE_ANSWERS_SHARE, UNSENT_BYTES_MAX, UNSENT_SHARE, VALUES_AT_ONCE_MAX};
    use crate::proto::{ListOp, Op, Raw, Scan, Spec, Wait};
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

    /// Returns a server that does nothing yet, and its only client, which has read all its answers.
    pub(in crate::server::event_loop) fn with_client<T: Send + 'static>(
        folder: &Path,
        prepare: impl FnOnce(&mut Client) -> T + Send + 'static,
    ) -> (Server, (Client, T)) {
        let path = folder.join("s");
        let mut server = Server::bind(&path).unwrap();
        let (stopper, (sender, receiver)) = (server.stopper(), channel());
        let connect = move || {
            let mut client = Client::connect(&path, b"").unwrap();
            let prepared = prepare(&mut client);
            sender.send((client, prepared)).unwrap();
            // Ends the round in which the server waits for more.
            stopper.stop();
        };
        let connecting = std::thread::Builder::new().spawn(connect).unwrap();
        let mut events = Events::with_capacity(8);
        let client = loop {
            match receiver.try_recv() {
                Err(TryRecvError::Empty) => server.work.round(&mut events).unwrap(),
                client => break client.unwrap(),
            }
        };
        connecting.join().unwrap();
        // The round that sees the end may be still to come.
        server.stopper().stop();
        server.work.round(&mut events).unwrap();
        server.work.is_ending = false;
        (server, client)
    }

    /// Makes the manager just so full that clients who do not read have to go.
    fn fill(unsent: &Arc<Account>) -> [Charge; 2] {
        let whole = unsent.whole();
        let others = whole.reserve_without_answers();
        let answers = unsent.charge(whole.reserve() - others + 1);
        let charges = [whole.charge((whole.limit() + others + 1).saturating_sub(whole.used())), answers];
        assert!(take_too_much(unsent));
        charges
    }

    /// Its buffer is kept for its next answers. In a full manager, that memory seems to be answers that it does not read.
    #[test]
    fn a_client_that_has_read_everything_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (mut server, _client) = with_client(folder.path(), Client::ping);
        let kept =
            |work: &EventLoop| work.peers.iter().map(|(_, peer)| peer.outbound.charged()).sum::<usize>();
        assert!(kept(&server.work) > 0);
        let _full = fill(&server.work.unsent);
        assert!(!server.work.relieve());
        assert_eq!(server.work.peers(), 1);
    }

    /// In the middle of its pipeline, answers wait. In a full manager, they seem to be answers that it does not read.
    #[test]
    fn a_client_in_the_middle_of_a_pipeline_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (mut server, (mut client, list)) = with_client(folder.path(), |client| {
            let list = client.open("l", Spec::List);
            let items = vec![Raw::plain(b"a value"); VALUES_AT_ONCE_MAX];
            client.ask(list, Op::List(ListOp::Extend(items))).unwrap();
            list
        });
        let mut events = Events::with_capacity(8);
        let mut round = |work: &mut EventLoop| {
            work.round(&mut events).unwrap();
            let peer = work.peers.iter().map(|(_, peer)| (peer.is_late, peer.outbound.is_empty()));
            peer.collect::<Vec<_>>()
        };
        for is_full in [false, true] {
            let full = is_full.then(|| fill(&server.work.unsent));
            // Each of them takes longer than a turn.
            let scan = || Scan { value: Raw::plain(b"a value"), from: 0, version: None };
            let calls = (0..3).flat_map(|_| client.bytes_of(list, Wait::No, Op::List(ListOp::Count(scan()))));
            let calls: Vec<u8> = calls.collect();
            client.stream.write_all(&calls).unwrap();
            assert_eq!(round(&mut server.work), [(true, is_full)], "one call has run");
            round(&mut server.work);
            assert_eq!(round(&mut server.work), [(false, true)], "all have run");
            (0..3).for_each(|_| assert!(client.answer().1.is_ok()));
            drop(full);
        }
    }
}

//! New connections: accepting them, and the handshake.
//!
//! Any process of the user may connect, and may do so all the time. So each round lets in only a few connections, gives
//! only a few of those in the handshake a turn, and closes only a few of those that are late. None of that takes long,
//! however slow the system is at it. The clients have their turns in between. And while there are clients, letting
//! others in takes at most half of the time.

mod heirs;
mod pace;

use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use mp_sys::OsError;
use mp_sys::deadline::now_nanos;
use mp_sys::handshake::{Listening, Next};

use self::pace::Pace;
use super::turn::Turn;
use super::{EventLoop, own_cpu};
use crate::account::{Account, Room};
use crate::count::nanos_of;
use crate::limits::{
    ACCEPTS_AT_ONCE, ARRIVALS_TIME_MAX, HANDSHAKE_TIME_MAX, HANDSHAKES_AT_ONCE, LATE_AT_ONCE,
};
use crate::proto::version::OLDEST;
use crate::proto::{Fault, Travels};
use crate::server::peer::{Accounts, HANDSHAKE_BYTES, Peer, Phase};
use crate::transport::Channel;
use crate::wire::frame::{FrameKind, Head};

/// How long to wait before accepting again after the process ran out of descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
const EPOCH_BYTES: u32 = 16;

/// What one round may do for the connections that are not clients yet: a number of things, but only one once the time is
/// over.
#[derive(Debug)]
struct Share {
    left: usize,
    ends: u64,
    has_begun: bool,
}

impl Share {
    /// Makes a share of this many things that begins now.
    fn of(things: usize, now: u64) -> Self {
        Self { left: things, ends: now.saturating_add(nanos_of(ARRIVALS_TIME_MAX)), has_begun: false }
    }

    /// Takes one thing from the share. Returns `false` if it is used up.
    fn take(&mut self, now: u64) -> bool {
        let may_go_on = self.left > 0 && (!std::mem::replace(&mut self.has_begun, true) || now < self.ends);
        self.left = self.left.saturating_sub(1);
        may_go_on
    }
}

/// The connections that are not clients yet.
#[derive(Debug)]
pub(super) struct Arrivals {
    /// Connections in the handshake, oldest first, with the times at which they are closed.
    proving: VecDeque<(u64, usize)>,
    /// The most of them.
    proving_max: usize,
    /// What they take.
    account: Arc<Account>,
    /// Those of them that may have sent something.
    ready: VecDeque<usize>,
    /// Whether connections may wait to be accepted. The system reports that only once.
    may_accept: bool,
    /// When to accept again after accepting failed.
    accept_at: Option<u64>,
    /// Connections in the handshake that claim a bequest which has not been made yet.
    claims: HashMap<u128, usize>,
    /// How much of the time they have taken.
    pace: Pace,
    /// Whether they are told that the server ends.
    pub(super) are_refused: bool,
}

impl Arrivals {
    /// Makes room for this many connections in the handshake.
    pub(super) fn new(proving_max: usize, account: Arc<Account>) -> Self {
        Self {
            proving: VecDeque::new(),
            proving_max,
            account,
            ready: VecDeque::new(),
            may_accept: false,
            accept_at: None,
            claims: HashMap::new(),
            pace: Pace::default(),
            are_refused: false,
        }
    }

    /// Returns `true` if the connections in the handshake take all that is meant for them.
    fn is_full(&self) -> bool {
        self.proving.len() >= self.proving_max
            || self.account.check_up_to(Room::Reserve, self.account.limit(), HANDSHAKE_BYTES).is_err()
    }

    /// Returns `true` if another connection in the handshake may be begun.
    fn has_place(&self) -> bool {
        !self.is_full() && self.account.whole().check_reserve(HANDSHAKE_BYTES).is_ok()
    }

    /// Removes and returns the oldest of those connections, or the oldest one if there are none.
    fn pop_oldest(&mut self, of_those: impl Fn(usize) -> bool) -> Option<usize> {
        let place = self.proving.iter().position(|(_, slot)| of_those(*slot)).unwrap_or(0);
        self.proving.remove(place).map(|(_, slot)| slot)
    }

    /// Records that a connection has arrived.
    pub(super) const fn may_come(&mut self) {
        self.may_accept = true;
    }

    /// Records that a connection has ended, so that its descriptor is free.
    pub(super) const fn has_room(&mut self) {
        if self.accept_at.is_some() {
            self.accept_at = Some(0);
        }
    }

    pub(super) fn make_ready(&mut self, slot: usize) {
        self.ready.push_back(slot);
    }

    /// Returns `true` if something can be done now.
    pub(super) fn has_work(&self) -> bool {
        self.may_accept || !self.ready.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        let rests_until = self.pace.rests_until();
        let accept_at = self.accept_at.map(|at| at.max(rests_until));
        let goes_on_at = self.has_work().then_some(rests_until);
        [self.proving.front().map(|(at, _)| *at), accept_at, goes_on_at].into_iter().flatten().min()
    }

    /// Returns how many connections wait for a bequest.
    #[cfg(test)]
    pub(super) fn claims(&self) -> usize {
        self.claims.len()
    }

    /// Removes a connection that has ended or has become a client.
    pub(super) fn forget(&mut self, slot: usize) {
        self.proving.retain(|(_, proving)| *proving != slot);
        self.ready.retain(|ready| *ready != slot);
    }

    /// Removes and returns a connection whose time for the handshake is over.
    fn pop_late(&mut self, now: u64) -> Option<usize> {
        let (at, slot) = self.proving.front().copied()?;
        if at > now {
            return None;
        }
        self.proving.pop_front();
        Some(slot)
    }
}

impl EventLoop {
    /// Accepts a few of the waiting connections, and lets a few of those in the handshake have a turn.
    pub(super) fn let_in(&mut self) {
        if !self.arrivals.has_work() && self.arrivals.accept_at.is_none() {
            return;
        }
        let began = now_nanos();
        if self.let_rest(began) {
            return;
        }
        let mut share = Share::of(HANDSHAKES_AT_ONCE, began);
        while share.take(now_nanos())
            && let Some(slot) = self.arrivals.ready.pop_front()
        {
            self.turn(slot, None);
        }
        let now = now_nanos();
        if self.arrivals.may_accept || self.arrivals.accept_at.is_some_and(|at| at <= now) {
            self.accept(now);
        }
        self.arrivals.pace.count(began, now_nanos());
    }

    /// Returns `true` if new connections wait at this moment, because they have taken too much of the clients' time.
    fn let_rest(&self, now: u64) -> bool {
        now < self.arrivals.pace.rests_until() && self.state.has_clients()
    }

    /// Returns `true` if something can be done for new connections now.
    pub(super) fn may_let_in(&self) -> bool {
        self.arrivals.has_work() && !self.let_rest(now_nanos())
    }

    fn accept(&mut self, now: u64) {
        (self.arrivals.may_accept, self.arrivals.accept_at) = (true, None);
        let mut share = Share::of(ACCEPTS_AT_ONCE, now);
        while share.take(now_nanos()) {
            match self.acceptors.accept() {
                Ok(Some(channel)) => {
                    if let Err(error) = self.begin(channel, now) {
                        tracing::warn!(%error, "a connection could not be set up");
                    }
                }
                Ok(None) => {
                    self.arrivals.may_accept = false;
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "connections cannot be accepted now");
                    self.arrivals.may_accept = false;
                    self.arrivals.accept_at = Some(now.saturating_add(nanos_of(ACCEPT_AGAIN)));
                    return;
                }
            }
        }
    }

    /// Closes a few of the connections whose time for the handshake is over. If there are more, the alarm rings at once,
    /// and the next round continues.
    pub(in crate::server) fn close_late(&mut self, now: u64) {
        let mut share = Share::of(LATE_AT_ONCE, now_nanos());
        while share.take(now_nanos())
            && let Some(slot) = self.arrivals.pop_late(now)
        {
            tracing::debug!("a peer did not complete the handshake in time");
            self.close(slot, false);
        }
    }

    fn begin(&mut self, channel: Channel, now: u64) -> Result<(), OsError> {
        // One makes room for another. If others than they have taken the memory, closing them would free next to nothing.
        if self.arrivals.is_full() {
            // Whoever floods a port without the key does not push out those that have it, or that are on this host.
            let peers = &self.peers;
            let is_stranger = |slot: usize| peers.get(slot).is_some_and(Peer::is_stranger);
            if let Some(slot) = self.arrivals.pop_oldest(is_stranger) {
                self.close(slot, false);
            }
        }
        if !self.arrivals.has_place() {
            tracing::debug!("there is no memory for a new connection: it is closed");
            return Ok(());
        }
        let nonce = self.terms.random.bytes()?;
        let deadline = now.saturating_add(nanos_of(HANDSHAKE_TIME_MAX));
        let accounts = Accounts { frames: &self.frames, answers: &self.unsent, sealed: &self.sealed };
        let mut peer = Peer::new(channel, Listening::new(nonce), accounts)?;
        peer.generation_of_keys = self.terms.keys.generation();
        peer.handshake = Some(self.arrivals.account.charge(HANDSHAKE_BYTES));
        let number = peer.number();
        let slot = self.peers.insert(peer);
        if let Err(error) = self.register(number, slot, false, true) {
            self.peers.remove(slot);
            return Err(error);
        }
        self.arrivals.proving.push_back((deadline, slot));
        // The peer may have sent its first message already.
        self.make_ready(slot);
        Ok(())
    }

    pub(super) fn prove(&mut self, slot: usize, next: Next) -> Result<(), Turn> {
        let Some(peer) = self.peers.get_mut(slot) else { return Ok(()) };
        match next {
            Next::Wait => return Ok(()),
            Next::Say(bytes) => peer.outbound.say(&bytes),
            Next::Refuse(bytes, refusal) => {
                tracing::debug!(?refusal, "refusing a peer");
                peer.outbound.say(&bytes);
                peer.flush();
                return Err(Turn::Gone { was_reset: false });
            }
            Next::Agree(bytes) => {
                peer.outbound.say(&bytes);
                let mut version = OLDEST;
                if let Phase::Proving(side) = &peer.phase
                    && let Some(agreed) = side.agreed()
                {
                    version = agreed.version;
                    peer.outbound.agree_on(version);
                }
                let welcome = self.welcome(slot);
                let Some(peer) = self.peers.get_mut(slot) else { return Ok(()) };
                match welcome {
                    Ok(welcome) => peer.outbound.say(&welcome),
                    Err(fault) => {
                        tracing::warn!(%fault, "refusing a client");
                        // An older client understands the end of the connection.
                        if fault != Fault::Ending || fault.since() <= version {
                            peer.outbound.say(&frame_of(fault.known_to(version)));
                        }
                        peer.flush();
                        return Err(Turn::Gone { was_reset: false });
                    }
                }
            }
        }
        self.make_dirty(slot);
        Ok(())
    }

    /// Makes a client of a connection that completed the handshake, and returns the welcome message.
    ///
    /// # Errors
    /// The reason why there is no room for the client. Its connection has to be closed.
    fn welcome(&mut self, slot: usize) -> Result<Vec<u8>, Fault> {
        self.arrivals.forget(slot);
        if self.arrivals.are_refused {
            return Err(Fault::Ending);
        }
        let client = self.state.connect()?;
        let index = client.slot();
        if self.slots.len() <= index {
            self.slots.resize(index.saturating_add(1), usize::MAX);
        }
        if let Some(place) = self.slots.get_mut(index) {
            *place = slot;
        }
        if let Some((peer, share)) = self.peers.get_mut(slot).zip(self.state.share(client)) {
            peer.belongs_to(client, share);
            self.state.introduce(client, peer.origin(), now_nanos());
        }
        let head = Head { body_len: EPOCH_BYTES, kind: FrameKind::Welcome, cpu: own_cpu(), call: 0, read: 0 };
        Ok([&head.to_bytes()[..], &self.terms.epoch.to_le_bytes()].concat())
    }
}

/// Returns the frame that refuses a connection.
fn frame_of(fault: Fault) -> Vec<u8> {
    let body = postcard::to_allocvec(&fault).unwrap_or_default();
    let body_len = u32::try_from(body.len()).unwrap_or(0);
    let head = Head { body_len, kind: FrameKind::Fault, cpu: own_cpu(), call: 0, read: 0 };
    [&head.to_bytes()[..], &body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_ends_with_its_number_or_its_time_and_is_never_empty() {
        let taken = |things, pace: u64| {
            let mut share = Share::of(things, 0);
            (1_u64..100).take_while(|thing| share.take(thing.saturating_mul(pace))).count()
        };
        let time = nanos_of(ARRIVALS_TIME_MAX);
        assert_eq!(taken(8, 1), 8);
        assert_eq!(taken(8, time / 4), 3, "the fourth would begin when the time is over");
        assert_eq!(taken(8, time), 1);
        assert_eq!(taken(0, 1), 0);
    }
}

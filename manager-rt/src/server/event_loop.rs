//! The one thread of a server: it waits, reads, runs the state machine, and writes.
//!
//! In each round, the loop waits until something happens (see [`EventLoop::wait`]), reads at most [`TURN_BYTES`] from
//! each connection, so that a busy one does not delay the others, lets a few new ones in, lets time pass in the state
//! machine, and writes all answers of each connection at once. A client that does not read gets no further turn once
//! [`UNSENT_BYTES_MAX`](crate::limits::UNSENT_BYTES_MAX) are waiting for it. Its answers stay in memory, and no other
//! client waits for it.
//!
//! A round may be long, so each call and each end of a client has its own time: the clock is read when it is handled. A
//! call's time is therefore never before the moment at which its client sent it.

mod alarm;
mod arrivals;
mod clock;
mod frames;
mod idle;
mod interval;
mod relief;
mod saving;
mod turn;
mod waiting;
mod writing;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use mp_sys::OsError;
use mp_sys::adaptive::{Budget, current_cpu};
use mp_sys::deadline::now_nanos;
use slab::Slab;

use crate::account::Account;
use crate::limits::TURN_BYTES;
use crate::server::Terms;
use crate::server::crowd::Crowd;
use crate::server::event_loop::alarm::Alarm;
use crate::server::event_loop::arrivals::Arrivals;
use crate::server::event_loop::idle::Idle;
pub(super) use crate::server::event_loop::saving::Kept;
use crate::server::event_loop::saving::Saving;
use crate::server::event_loop::turn::Unsettled;
use crate::server::keys::Renewal;
use crate::server::peer::{Peer, Phase};
use crate::state::{ClientId, Effects, State};
use crate::transport::Acceptors;
use crate::wire::frame::CROWDED;

/// The sources of events other than connections.
pub(super) const WAKER: Token = Token(0);
const LISTENER: Token = Token(1);
/// The descriptor that ends the server when it becomes readable.
const END: Token = Token(2);
/// The timer that ends a wait.
const ALARM: Token = Token(3);
/// The end of the process that writes a snapshot.
const SAVER: Token = Token(4);
/// The signal by which new keys are read.
const KEYS: Token = Token(5);
const FIRST_PEER: usize = 6;
/// The most events taken from the system at once.
const EVENTS_MAX: usize = 1_024;
/// Out of this many looks while spinning, one is at all connections, and the others are at the newest one.
const LOOKS_PER_POLL: u32 = 8;

/// What an event loop begins with.
#[derive(Debug)]
pub(super) struct SetUp {
    pub(super) state: State,
    pub(super) acceptors: Acceptors,
    pub(super) terms: Terms,
    /// The most peers in the handshake.
    pub(super) handshakes_max: usize,
}

/// The event loop and its state.
pub(super) struct EventLoop {
    poll: Poll,
    alarm: Alarm,
    pub(super) state: State,
    acceptors: Acceptors,
    terms: Terms,
    peers: Slab<Peer>,
    /// The slot of each client's connection, indexed by the client's own slot.
    slots: Vec<usize>,
    /// Connections that wait to be accepted, and those in the handshake.
    arrivals: Arrivals,
    /// Connections that may have more to read.
    ready: VecDeque<usize>,
    /// Connections with a call that depends on what other clients hold. The call runs once everything that had arrived
    /// by the next look at the sockets is done.
    unsettled: Vec<Unsettled>,
    /// When the newest frame was run.
    frame_at: u64,
    /// The number of rounds so far.
    rounds: u64,
    /// Connections that have something to write.
    dirty: Vec<usize>,
    /// Those that will write it after a later turn. Empty except while answers are written.
    later: Vec<usize>,
    effects: Effects,
    /// The account of unfinished frames.
    frames: Arc<Account>,
    /// The account of answers that are not written.
    unsent: Arc<Account>,
    /// The account of incomplete records of streams between hosts.
    sealed: Arc<Account>,
    buffer: Vec<u8>,
    budget: Budget,
    /// The only connection that had a turn in its round. The next call is likely to come from it.
    newest: Option<usize>,
    /// The number of looks while spinning.
    looks: u32,
    /// The CPU from which the newest call came, plus one; 0 if unknown.
    peer_cpu: u8,
    crowd: Crowd,
    /// Whether removed objects still hold something to free.
    has_untidy: bool,
    /// When the server ends for want of clients, if it does.
    idle: Option<Idle>,
    saving: Saving,
    /// How it learns of new keys, if it does.
    renewal: Option<Renewal>,
    is_ending: bool,
    /// Whether the objects were saved at the end.
    is_saved: bool,
}

impl EventLoop {
    /// Sets up the loop.
    ///
    /// # Errors
    /// The error of the system call.
    pub(super) fn new(poll: Poll, set_up: SetUp, ends: &[OwnedFd]) -> Result<Self, OsError> {
        let SetUp { mut state, acceptors, terms, handshakes_max } = set_up;
        state.begins(now_nanos());
        state.accept_snapshots();
        let registry = poll.registry();
        for number in acceptors.numbers() {
            registry.register(&mut SourceFd(&number), LISTENER, Interest::READABLE)?;
        }
        for end in ends {
            registry.register(&mut SourceFd(&end.as_raw_fd()), END, Interest::READABLE)?;
        }
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        let (frames, unsent) = (state.frame_account(), state.answer_account());
        let (handshakes, sealed) = (state.handshake_account(), state.sealed_account());
        Ok(Self {
            poll,
            alarm,
            state,
            acceptors,
            terms,
            peers: Slab::new(),
            slots: Vec::new(),
            arrivals: Arrivals::new(handshakes_max, handshakes),
            ready: VecDeque::new(),
            unsettled: Vec::new(),
            frame_at: 0,
            rounds: 0,
            dirty: Vec::new(),
            later: Vec::new(),
            effects: Effects::default(),
            frames,
            unsent,
            sealed,
            buffer: vec![0; TURN_BYTES],
            budget: Budget::new(),
            newest: None,
            looks: 0,
            peer_cpu: 0,
            crowd: Crowd::new(),
            has_untidy: false,
            idle: None,
            saving: Saving::default(),
            renewal: None,
            is_ending: false,
            is_saved: false,
        })
    }

    /// Runs until the server is ended. Calls `ending` before the objects are saved for the last time.
    ///
    /// # Errors
    /// If the system can no longer report events, or the objects cannot be saved.
    pub(super) fn run(&mut self, ending: impl FnOnce()) -> Result<(), OsError> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.is_ending && !self.state.has_ended() {
            self.round(&mut events)?;
        }
        ending();
        let saved = if self.is_saved { Ok(()) } else { self.save_at_end() };
        self.answer_ends(saved);
        saved
    }

    /// Waits until something happens, and lets each connection that has sent something have a turn.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub(super) fn round(&mut self, events: &mut Events) -> Result<(), OsError> {
        events.clear();
        let caught = self.wait(events)?;
        self.rounds = self.rounds.wrapping_add(1);
        let unsettled = std::mem::take(&mut self.unsettled);
        if let Some((slot, read)) = caught {
            self.turn(slot, Some(read));
        }
        self.learn(events);
        let turns = self.ready.len();
        for _ in 0..turns {
            let Some(slot) = self.ready.pop_front() else { break };
            self.turn(slot, None);
            self.newest = (turns == 1).then_some(slot);
            self.relieve_early();
        }
        self.let_in();
        self.resume(unsettled);
        self.let_heirs_in();
        self.begin_snapshots();
        self.pass();
        self.flush();
        if self.relieve() {
            // Those that waited for what the disconnected ones held have answers now.
            self.flush();
        }
        // Time that passed, and clients that ended, may have left work as well.
        self.has_untidy = self.state.has_backlog();
        self.end_if_idle();
        Ok(())
    }

    /// Takes note of events.
    fn learn(&mut self, events: &Events) {
        for event in events {
            match event.token() {
                WAKER | END => self.is_ending = true,
                LISTENER => self.arrivals.may_come(),
                ALARM => self.alarm.has_rung(),
                SAVER => self.has_saved(),
                KEYS => self.renew_keys(),
                Token(token) => {
                    let slot = token.saturating_sub(FIRST_PEER);
                    if event.is_writable() {
                        self.write(slot);
                    }
                    if event.is_read_closed() || event.is_error() {
                        self.hang_up(slot);
                    } else if event.is_readable() {
                        self.make_ready(slot);
                    }
                }
            }
        }
    }

    /// Lets the keys be replaced while the server serves.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub(super) fn renew_keys_by(&mut self, renewal: Renewal) -> Result<(), OsError> {
        renewal.register(self.poll.registry(), KEYS)?;
        self.renewal = Some(renewal);
        Ok(())
    }

    fn renew_keys(&mut self) {
        if let Some(renewal) = &mut self.renewal {
            renewal.renew(&mut self.terms.keys, &mut self.acceptors);
        }
    }

    fn make_ready(&mut self, slot: usize) {
        if let Some(peer) = self.peers.get_mut(slot)
            && !peer.is_ready
        {
            peer.is_ready = true;
            match peer.phase {
                Phase::Live(_) | Phase::Heirs(_) => self.ready.push_back(slot),
                Phase::Proving(_) | Phase::Claiming(_) => self.arrivals.make_ready(slot),
            }
        }
    }

    /// Handles a peer that closed its side: pending answers cannot be written, and its remaining input is read to the
    /// end.
    fn hang_up(&mut self, slot: usize) {
        self.write(slot);
        let round = self.rounds;
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.hung_up_in.get_or_insert(round);
            self.make_ready(slot);
        }
    }

    fn make_dirty(&mut self, slot: usize) {
        if let Some(peer) = self.peers.get_mut(slot)
            && !peer.is_dirty
        {
            peer.is_dirty = true;
            self.dirty.push(slot);
        }
    }

    fn register(&self, number: RawFd, slot: usize, awaits_room: bool, is_new: bool) -> Result<(), OsError> {
        let token = Token(slot.saturating_add(FIRST_PEER));
        let interest = if awaits_room { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let mut source = SourceFd(&number);
        let registry = self.poll.registry();
        match is_new {
            true => registry.register(&mut source, token, interest)?,
            false => registry.reregister(&mut source, token, interest)?,
        }
        Ok(())
    }

    /// Hands answers to their connections.
    fn distribute(&mut self) {
        while let Some(client) = self.state.pop_superseded() {
            self.end_superseded(client);
        }
        if self.effects.answers.is_empty() {
            return;
        }
        let cpu = own_cpu();
        let mut answers = std::mem::take(&mut self.effects.answers);
        for answered in answers.drain(..) {
            let Some(slot) = self.slots.get(answered.client.slot()).copied() else { continue };
            let Some(peer) = self.peers.get_mut(slot) else { continue };
            if peer.client() == Some(answered.client) {
                let cpu = if peer.newest.is_in_crowd { CROWDED } else { cpu };
                match &answered.names {
                    Some(names) => peer.outbound.names(answered.call, names.count, &names.pages, cpu),
                    None => peer.outbound.answers(answered.call, &answered.answer, &answered.more, cpu),
                }
                self.make_dirty(slot);
            }
        }
        self.effects.answers = answers;
    }

    /// Closes the connection of a client that has connected again.
    #[cold]
    fn end_superseded(&mut self, client: ClientId) {
        let Some(slot) = self.slots.get(client.slot()).copied() else { return };
        if self.peers.get(slot).and_then(Peer::client) == Some(client) {
            tracing::debug!("a client has connected again: its earlier connection is closed");
            self.close(slot, true);
        }
    }

    /// Lets time pass.
    fn pass(&mut self) {
        self.state.tidy(&mut self.effects);
        self.distribute();
        let now = now_nanos();
        if self.state.next_deadline().is_some_and(|at| at <= now) {
            self.state.advance(now, &mut self.effects);
            self.distribute();
        }
        self.close_late(now);
    }

    /// Returns the account of everything that the server keeps.
    #[cfg(test)]
    pub(super) fn memory(&self) -> &Arc<Account> {
        self.frames.whole()
    }

    /// Sets how much a step of the state machine does.
    #[cfg(test)]
    pub(super) const fn set_step(&mut self, units: usize) {
        self.state.set_step(units);
    }

    /// Returns how many connections wait for a bequest, and how often one was searched.
    #[cfg(test)]
    pub(super) fn claims(&self) -> (usize, usize) {
        (self.arrivals.claims(), self.state.claims_searched())
    }

    /// Returns the number of connections.
    #[cfg(test)]
    pub(super) fn peers(&self) -> usize {
        self.peers.len()
    }
}

/// Returns the CPU that the server runs on, in the form of a frame's head.
fn own_cpu() -> u8 {
    u8::try_from(current_cpu().saturating_add(1)).unwrap_or(0)
}

/// Makes the waker that ends a server from another thread.
pub(super) fn waker(poll: &Poll) -> io::Result<Waker> {
    Waker::new(poll.registry(), WAKER)
}

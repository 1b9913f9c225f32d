//! `Barrier`: a number of parties that wait for each other.
//!
//! A client has one place for each of its waiting calls, until the round ends, and one for each place that it
//! registered in advance, until it takes back the registration. So one barrier serves any number of sets of clients,
//! one after another.
//!
//! # Deaths that break it
//! A round needs the clients that have a place. If one of them ends, the others would wait for it in vain, so the
//! barrier breaks. Any other client may end at any time. A client that releases its last reference to the barrier will
//! not come back: its registrations end, and nothing breaks. A call that stops waiting, for whatever reason, also
//! breaks the barrier.
//!
//! # The action
//! The server runs no code of its users. If the call that completes the round has an action, the answer asks its client
//! to run the action and then to end the round, while the others keep waiting. Calls that arrive meanwhile belong to
//! the next round, and wait in a separate line.

use std::collections::BTreeMap;

use crate::count::count_of;
use crate::limits::PARTIES_MAX;
use crate::proto::{Answer, BarrierOp, Fault, Payload, Reply, Wait};
use crate::state::context::{Context, Core, DONE, Outcome, check_range};
use crate::state::step::ClientId;
use crate::state::waiters::{Line, WaiterId, Want};
use crate::state::work::CALLER;

/// A barrier.
#[derive(Debug)]
pub(super) struct Barrier {
    parties: u64,
    is_broken: bool,
    /// How many rounds have ended.
    round: u64,
    places: Places,
    /// The calls that have arrived in this round.
    line: Line,
    /// The client that runs the action. By then all parties have arrived, and its call was answered.
    acting: Option<ClientId>,
    /// Calls that arrived while the action runs.
    early: Line,
    /// Whether the last call to leave was one of those.
    was_early: bool,
    /// Whether they are let in, which may take several steps.
    lets_in: bool,
}

/// The places of each client.
#[derive(Debug, Default)]
struct Places {
    registered: BTreeMap<ClientId, Registered>,
    /// Places that are taken until the round ends.
    passing: u64,
    /// The number of taken places.
    taken: u64,
}

/// The places that a client registered in advance.
#[derive(Debug, Default, Clone, Copy)]
struct Registered {
    places: u64,
    /// How many of them its calls have arrived at.
    arrived: u64,
}

impl Places {
    fn take_free(&mut self, parties: u64) -> Result<(), Fault> {
        if self.taken >= parties {
            return Err(Fault::TooMany { limit: parties });
        }
        self.taken = self.taken.saturating_add(1);
        Ok(())
    }

    fn register(&mut self, client: ClientId, parties: u64) -> Result<(), Fault> {
        self.take_free(parties)?;
        let registered = self.registered.entry(client).or_default();
        registered.places = registered.places.saturating_add(1);
        Ok(())
    }

    /// Takes back a registration. A waiting call keeps its place until the round ends.
    fn unregister(&mut self, client: ClientId) -> Result<(), Fault> {
        let registered = self.registered.get_mut(&client).ok_or(Fault::NotOwned)?;
        registered.places = registered.places.saturating_sub(1);
        if registered.arrived > registered.places {
            registered.arrived = registered.places;
            self.passing = self.passing.saturating_add(1);
        } else {
            self.taken = self.taken.saturating_sub(1);
        }
        if registered.places == 0 {
            self.registered.remove(&client);
        }
        Ok(())
    }

    /// Takes a place for a call: one that its client registered, or a free one.
    fn arrive(&mut self, client: ClientId, parties: u64) -> Result<(), Fault> {
        match self.registered.get_mut(&client) {
            Some(registered) if registered.arrived < registered.places => {
                registered.arrived = registered.arrived.saturating_add(1);
            }
            _ => {
                self.take_free(parties)?;
                self.passing = self.passing.saturating_add(1);
            }
        }
        Ok(())
    }

    fn end_round(&mut self) {
        self.taken = self.taken.saturating_sub(self.passing);
        self.passing = 0;
        self.registered.values_mut().for_each(|registered| registered.arrived = 0);
    }

    /// Forgets the registrations of a client, and returns `true` if there were any.
    fn forget(&mut self, client: ClientId) -> bool {
        let Some(Registered { places, arrived }) = self.registered.remove(&client) else { return false };
        // Its waiting calls keep their places until the round ends.
        self.passing = self.passing.saturating_add(arrived);
        self.taken = self.taken.saturating_sub(places.saturating_sub(arrived));
        true
    }
}

/// Returns the grant of a place. The places of one connection are alike, so its token is the connection's number. A
/// client that has connected again can thereby not take back a place of the new connection for one that it lost.
const fn granted(client: ClientId) -> Reply<Payload> {
    Reply::Granted { token: client.serial(), owner_died: false, timed_out: false }
}

impl Barrier {
    /// Makes a barrier without waiters.
    ///
    /// # Errors
    /// [`Fault::OutOfRange`].
    pub(super) fn new(parties: u64) -> Result<Self, Fault> {
        check_range(parties, 1, PARTIES_MAX)?;
        let (line, early, places) = (Line::new(), Line::new(), Places::default());
        let (acting, was_early, lets_in) = (None, false, false);
        Ok(Self { parties, is_broken: false, round: 0, places, line, acting, early, was_early, lets_in })
    }

    /// Returns what a snapshot contains: the parties, the rounds so far, and whether it is broken.
    pub(super) const fn saved(&self) -> (u64, u64, bool) {
        (self.parties, self.round, self.is_broken)
    }

    /// Restores a barrier of a snapshot.
    ///
    /// # Errors
    /// [`Fault::OutOfRange`].
    pub(super) fn restored(parties: u64, round: u64, is_broken: bool) -> Result<Self, Fault> {
        Ok(Self { round, is_broken, ..Self::new(parties)? })
    }

    pub(super) fn apply(&mut self, op: &BarrierOp, context: &mut Context<'_>) -> Outcome {
        match *op {
            BarrierOp::Wait { acts } => self.arrive(acts, context),
            BarrierOp::EndRound { round } => self.end_action(round, context).into(),
            BarrierOp::Register => self.register(context).and(DONE).into(),
            BarrierOp::Enrol => self.register(context).map(|()| granted(context.client)).into(),
            BarrierOp::Unregister => self.places.unregister(context.client).and(DONE).into(),
            BarrierOp::Withdraw { token } if token == context.client.serial() => {
                self.places.unregister(context.client).and(DONE).into()
            }
            BarrierOp::Withdraw { .. } => Outcome::Answer(Err(Fault::NotOwned)),
            BarrierOp::Abort => {
                self.break_up(context.core);
                DONE.into()
            }
            BarrierOp::Reset => {
                self.reset(context.core);
                context.touch();
                DONE.into()
            }
            BarrierOp::Parties => Outcome::Answer(Ok(Reply::Count(self.parties))),
            BarrierOp::Waiting => Outcome::Answer(Ok(Reply::Count(count_of(self.line.len())))),
            BarrierOp::IsBroken => Outcome::Answer(Ok(Reply::Bool(self.is_broken))),
        }
    }

    fn register(&mut self, context: &mut Context<'_>) -> Result<(), Fault> {
        if self.is_broken {
            return Err(Fault::Broken);
        }
        self.places.register(context.client, self.parties)?;
        context.hold();
        Ok(())
    }

    fn arrive(&mut self, acts: bool, context: &mut Context<'_>) -> Outcome {
        let want = Want::Parties { acts };
        if self.is_broken {
            return Outcome::Answer(Err(Fault::Broken));
        }
        if self.acting.is_some() {
            return context.park(&mut self.early, want, Fault::TimedOut);
        }
        let is_last = self.is_last();
        let may_come = if is_last || context.target.wait == Wait::No {
            Ok(())
        } else {
            context.core.may_wait(context.client, context.call, &want)
        };
        if let Err(fault) = may_come.and_then(|()| self.places.arrive(context.client, self.parties)) {
            return Outcome::Answer(Err(fault));
        }
        if is_last {
            let answer = self.complete(context.client, acts, context.core);
            if acts {
                context.hold();
            }
            return Outcome::Answer(Ok(answer));
        }
        if context.target.wait == Wait::No {
            // A party that arrives without waiting counts as one that gives up.
            self.break_up(context.core);
        }
        context.park(&mut self.line, want, Fault::TimedOut)
    }

    /// Returns `true` if the next call to arrive completes the round.
    fn is_last(&self) -> bool {
        count_of(self.line.len()).saturating_add(1) == self.parties
    }

    /// Completes a round, and returns the answer to its last call.
    fn complete(&mut self, client: ClientId, acts: bool, core: &mut Core) -> Reply<Payload> {
        let index = count_of(self.line.len());
        if acts {
            self.acting = Some(client);
            return Reply::Acts { index, round: self.round };
        }
        self.pass(core);
        Reply::Count(index)
    }

    fn end_action(&mut self, round: u64, context: &mut Context<'_>) -> Answer<Payload> {
        if self.acting != Some(context.client) || round != self.round {
            return Err(Fault::Broken);
        }
        self.pass(context.core);
        self.lets_in = true;
        context.touch();
        DONE
    }

    /// Answers each waiter with the position in which it arrived.
    fn pass(&mut self, core: &mut Core) {
        core.answer_all(&mut self.line, &Ok(Reply::Count(0)));
        self.end_round();
    }

    /// Lets the calls that arrived too early into the round that begins, and into the next ones. Returns `false` if the step
    /// does not allow all of that. Calls of clients that have ended are passed over: such a party could not even act.
    pub(super) fn serve(&mut self, core: &mut Core) -> bool {
        while self.lets_in
            && self.acting.is_none()
            && let Some(id) = self.early.first().copied()
        {
            if core.work.is_over() {
                return false;
            }
            core.work.charge(CALLER);
            self.early.remove(&id);
            if core.is_live(id) {
                self.let_in(id, core);
            }
        }
        self.lets_in = false;
        true
    }

    fn let_in(&mut self, id: WaiterId, core: &mut Core) {
        let Some(waiter) = core.waiters.get(id) else { return };
        let (client, object) = (waiter.client, waiter.object);
        let acts = matches!(waiter.want, Want::Parties { acts: true });
        let answer = match self.places.arrive(client, self.parties) {
            Ok(()) if !self.is_last() => {
                self.line.insert(id);
                return;
            }
            Ok(()) => Ok(self.complete(client, acts, core)),
            Err(fault) => Err(fault),
        };
        if self.acting == Some(client) {
            core.hold(client, object);
        }
        if let Some(waiter) = core.take_waiter(id) {
            core.answer(client, waiter.call, answer);
        }
    }

    fn end_round(&mut self) {
        self.acting = None;
        self.places.end_round();
        self.round = self.round.wrapping_add(1);
    }

    /// Breaks the barrier until it is repaired.
    fn break_up(&mut self, core: &mut Core) {
        let broken: Answer<Payload> = Err(Fault::Broken);
        core.answer_all(&mut self.line, &broken);
        core.answer_all(&mut self.early, &broken);
        self.is_broken = true;
        self.end_round();
    }

    /// Answers all waiters that the barrier broke, and begins the next round.
    fn reset(&mut self, core: &mut Core) {
        let early = std::mem::take(&mut self.early);
        self.break_up(core);
        self.is_broken = false;
        self.early = early;
        self.lets_in = true;
    }

    /// Handles a party that no longer waits, so that the others would wait for it in vain.
    pub(super) fn party_left(&mut self, core: &mut Core) {
        // If the call had not arrived yet, no party needs it.
        if !std::mem::take(&mut self.was_early) {
            self.break_up(core);
        }
    }

    /// Ends a client. Its calls have left already.
    pub(super) fn release_client(&mut self, client: ClientId, core: &mut Core) {
        let was_registered = self.places.forget(client);
        if was_registered || self.acting == Some(client) {
            self.break_up(core);
        }
    }

    /// Handles a client that will not come back. Its waiting calls keep waiting.
    pub(super) fn client_detached(&mut self, client: ClientId) {
        self.places.forget(client);
    }

    pub(super) fn waiting(&self) -> usize {
        self.line.len().saturating_add(self.early.len())
    }

    pub(super) fn leave(&mut self, waiter: WaiterId) -> bool {
        self.was_early = self.early.remove(&waiter);
        self.was_early || self.line.remove(&waiter)
    }

    /// Ends the barrier, and answers all waiters.
    pub(super) fn end(mut self, core: &mut Core, answer: &Answer<Payload>) {
        core.answer_all(&mut self.line, answer);
        core.answer_all(&mut self.early, answer);
    }
}

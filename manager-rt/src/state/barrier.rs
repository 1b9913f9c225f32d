//! `Barrier`: a number of parties that wait for each other.
//!
//! A party is a thread of a connection, and registers by its first wait. From then on the end of its connection breaks the
//! barrier, whether it waits or not: the others would wait for it in vain. A client that gives its last reference to the
//! barrier back says that it comes no more, and breaks nothing. Whoever stops waiting, for whatever reason, breaks it too.
//!
//! The round is counted up whenever all who wait are answered, so a party waits if it arrived in this round.

use std::collections::BTreeMap;

use crate::count::count_of;
use crate::limits::PARTIES_MAX;
use crate::proto::frame::{Answer, Wait};
use crate::proto::{BarrierOp, Fault, Payload, Reply};
use crate::state::clients::ClientId;
use crate::state::context::{Context, Core, DONE, Outcome, check_range};
use crate::state::waiters::{Line, WaiterId, Want};

/// A barrier.
#[derive(Debug)]
pub(super) struct Barrier {
    parties: u64,
    is_broken: bool,
    round: u64,
    /// Who registered, and in which round it arrived last.
    registered: BTreeMap<(ClientId, u64), u64>,
    line: Line,
}

impl Barrier {
    /// A barrier at which nobody waits.
    ///
    /// # Errors
    /// [`Fault::OutOfRange`].
    pub(super) fn new(parties: u64) -> Result<Self, Fault> {
        check_range(parties, 1, PARTIES_MAX)?;
        let (registered, line) = (BTreeMap::new(), Line::new());
        Ok(Self { parties, is_broken: false, round: 1, registered, line })
    }

    pub(super) fn apply(&mut self, op: &BarrierOp, context: &mut Context<'_>) -> Outcome {
        match op {
            BarrierOp::Wait => self.arrive(context),
            BarrierOp::Abort => {
                self.break_up(context.core);
                DONE.into()
            }
            BarrierOp::Reset => {
                self.break_up(context.core);
                self.is_broken = false;
                DONE.into()
            }
            BarrierOp::Parties => Outcome::Answer(Ok(Reply::Count(self.parties))),
            BarrierOp::Waiting => Outcome::Answer(Ok(Reply::Count(count_of(self.line.len())))),
            BarrierOp::IsBroken => Outcome::Answer(Ok(Reply::Bool(self.is_broken))),
        }
    }

    fn arrive(&mut self, context: &mut Context<'_>) -> Outcome {
        if let Err(fault) = self.check_arrival((context.client, context.target.thread)) {
            return Outcome::Answer(Err(fault));
        }
        let arrived = count_of(self.line.len());
        if arrived.saturating_add(1) == self.parties {
            self.register(context);
            self.pass(context.core);
            return Outcome::Answer(Ok(Reply::Count(arrived)));
        }
        if context.target.wait == Wait::No {
            // A party that comes and does not stay is one that gives up.
            self.register(context);
            self.break_up(context.core);
            return Outcome::Answer(Err(Fault::TimedOut));
        }
        let outcome = context.park(&mut self.line, Want::Parties, Fault::TimedOut);
        if matches!(outcome, Outcome::Parked) {
            self.register(context);
        }
        outcome
    }

    fn check_arrival(&self, party: (ClientId, u64)) -> Result<(), Fault> {
        if self.is_broken {
            return Err(Fault::Broken);
        }
        match self.registered.get(&party) {
            // One thread cannot wait twice.
            Some(round) if *round == self.round => Err(Fault::TooMany { limit: 1 }),
            None if count_of(self.registered.len()) >= self.parties => {
                Err(Fault::TooMany { limit: self.parties })
            }
            _ => Ok(()),
        }
    }

    fn register(&mut self, context: &mut Context<'_>) {
        self.registered.insert((context.client, context.target.thread), self.round);
        context.hold();
    }

    /// All have come: each is told the order in which it came.
    fn pass(&mut self, core: &mut Core) {
        let mut index = 0_u64;
        while let Some(waiter) = core.next_of(&mut self.line) {
            core.answer(waiter.client, waiter.call, Ok(Reply::Count(index)));
            index = index.saturating_add(1);
        }
        self.round = self.round.wrapping_add(1);
    }

    /// Nobody passes until it is mended.
    fn break_up(&mut self, core: &mut Core) {
        let broken: Answer<Payload> = Err(Fault::Broken);
        core.answer_all(&mut self.line, &broken);
        self.is_broken = true;
        self.round = self.round.wrapping_add(1);
    }

    /// Somebody does not wait any more, and the others would wait for it in vain.
    pub(super) fn party_left(&mut self, core: &mut Core) {
        self.break_up(core);
    }

    fn parties_of(&self, client: ClientId) -> Vec<((ClientId, u64), u64)> {
        let range = (client, 0)..=(client, u64::MAX);
        self.registered.range(range).map(|(party, round)| (*party, *round)).collect()
    }

    pub(super) fn release_client(&mut self, client: ClientId, core: &mut Core) {
        let parties = self.parties_of(client);
        for (party, _) in &parties {
            self.registered.remove(party);
        }
        if !parties.is_empty() {
            self.break_up(core);
        }
    }

    /// A client that still waits has not really gone: those parties stay.
    pub(super) fn client_detached(&mut self, client: ClientId) {
        for (party, round) in self.parties_of(client) {
            if round != self.round {
                self.registered.remove(&party);
            }
        }
    }

    pub(super) fn leave(&mut self, waiter: WaiterId) {
        self.line.remove(&waiter);
    }

    pub(super) const fn line(&mut self) -> &mut Line {
        &mut self.line
    }
}

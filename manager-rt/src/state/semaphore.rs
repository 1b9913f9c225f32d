//! `Semaphore` and `BoundedSemaphore`: permits that belong to connections.
//!
//! A permit is recorded with the connection that took it, so it comes back when the connection ends. A permit that is
//! forgotten is no longer recorded: it is on its way between two processes, and its next owner adds it again. So the
//! sum of free, taken and forgotten permits never changes, whichever client dies.
//!
//! The permits of one connection are alike, so a grant names only the connection: its token is the connection's number.
//! A client that has connected again can thereby not release a permit of the new connection for one that it lost.

use std::collections::BTreeMap;

use crate::limits::PERMITS_MAX;
use crate::proto::{Answer, Fault, Kind, ObjectId, Payload, Reply, SemaphoreOp};
use crate::state::context::{Context, Core, DONE, Outcome, check_range};
use crate::state::grants::Granted;
use crate::state::step::ClientId;
use crate::state::waiters::{Line, WaiterId, Want};

/// A semaphore, bounded or not.
#[derive(Debug)]
pub(super) struct Semaphore {
    /// The most recorded permits of a bounded semaphore.
    bound: Option<u64>,
    free: u64,
    /// The number of taken permits by connection; never 0.
    taken: BTreeMap<ClientId, u64>,
    taken_in_all: u64,
    line: Line,
}

impl Semaphore {
    /// Makes a semaphore with this many free permits.
    ///
    /// # Errors
    /// [`Fault::OutOfRange`].
    pub(super) fn new(permits: u64, is_bounded: bool) -> Result<Self, Fault> {
        check_range(permits, 0, PERMITS_MAX)?;
        let bound = is_bounded.then_some(permits);
        Ok(Self { bound, free: permits, taken: BTreeMap::new(), taken_in_all: 0, line: Line::new() })
    }

    /// Returns what a snapshot contains: the bound, and the permits that are free once all clients have ended.
    pub(super) const fn saved(&self) -> (Option<u64>, u64) {
        (self.bound, self.free.saturating_add(self.taken_in_all))
    }

    /// Restores a semaphore of a snapshot.
    ///
    /// # Errors
    /// [`Fault::OutOfRange`].
    pub(super) fn restored(bound: Option<u64>, free: u64) -> Result<Self, Fault> {
        check_range(free, 0, bound.unwrap_or(PERMITS_MAX))?;
        Ok(Self { free, ..Self::new(bound.unwrap_or(free), bound.is_some())? })
    }

    pub(super) fn apply(&mut self, op: &SemaphoreOp, context: &mut Context<'_>) -> Outcome {
        match *op {
            SemaphoreOp::Acquire => self.acquire(false, context),
            SemaphoreOp::Take => self.acquire(true, context),
            SemaphoreOp::Release => self.release(context).into(),
            SemaphoreOp::Forget => self.take_from(context.client).and(DONE).into(),
            SemaphoreOp::Add(count) => self.add(count, context).into(),
            SemaphoreOp::Return { token } if owns(context.client, token) => self.release(context).into(),
            SemaphoreOp::Disown { token } if owns(context.client, token) => {
                self.take_from(context.client).and(DONE).into()
            }
            SemaphoreOp::Return { .. } | SemaphoreOp::Disown { .. } => Outcome::Answer(Err(Fault::NotOwned)),
            SemaphoreOp::Available => Outcome::Answer(Ok(Reply::Count(self.free))),
        }
    }

    fn acquire(&mut self, is_named: bool, context: &mut Context<'_>) -> Outcome {
        if self.free == 0 || !self.line.is_empty() {
            return context.park(&mut self.line, Want::Permit { is_named }, Fault::WouldBlock);
        }
        let answer = self.grant(context.client, is_named, context.target.object, context.core);
        context.note_grant(Granted::Permit);
        answer.into()
    }

    /// Gives a permit to a connection, and returns the answer.
    fn grant(&mut self, client: ClientId, is_named: bool, id: ObjectId, core: &mut Core) -> Answer<Payload> {
        self.free = self.free.saturating_sub(1);
        self.taken_in_all = self.taken_in_all.saturating_add(1);
        let taken = self.taken.entry(client).or_insert(0);
        *taken = taken.saturating_add(1);
        if *taken == 1 {
            core.hold(client, id);
        }
        if is_named {
            Ok(Reply::Granted { token: client.serial(), owner_died: false, timed_out: false })
        } else {
            DONE
        }
    }

    /// Removes a permit from the records of a connection.
    fn take_from(&mut self, client: ClientId) -> Result<(), Fault> {
        let taken = self.taken.get_mut(&client).ok_or(Fault::NotOwned)?;
        *taken = taken.saturating_sub(1);
        if *taken == 0 {
            self.taken.remove(&client);
        }
        self.taken_in_all = self.taken_in_all.saturating_sub(1);
        Ok(())
    }

    fn release(&mut self, context: &mut Context<'_>) -> Answer<Payload> {
        self.take_from(context.client)?;
        self.free = self.free.saturating_add(1);
        context.touch();
        DONE
    }

    fn add(&mut self, count: u64, context: &mut Context<'_>) -> Answer<Payload> {
        let booked = self.free.saturating_add(self.taken_in_all);
        if self.bound.is_some_and(|bound| count > bound.saturating_sub(booked)) {
            return Err(Fault::OverReleased);
        }
        check_range(count, 0, PERMITS_MAX.saturating_sub(booked))?;
        self.free = self.free.saturating_add(count);
        context.touch();
        DONE
    }

    /// Serves the line. Returns `false` if the step does not allow all of that.
    pub(super) fn serve(&mut self, id: ObjectId, core: &mut Core) -> bool {
        while self.free > 0 && !self.line.is_empty() {
            if core.work.is_over() {
                return false;
            }
            let Some(waiter) = core.next_of(&mut self.line) else { continue };
            let is_named = matches!(waiter.want, Want::Permit { is_named: true });
            let answer = self.grant(waiter.client, is_named, id, core);
            core.note_grant(waiter.client, waiter.call, id, Granted::Permit);
            core.answer(waiter.client, waiter.call, answer);
        }
        true
    }

    /// Takes back a permit whose answer nobody has seen.
    pub(super) fn take_back(&mut self, client: ClientId) {
        if self.take_from(client).is_ok() {
            self.free = self.free.saturating_add(1);
        }
    }

    pub(super) fn release_client(&mut self, client: ClientId) {
        let taken = self.taken.remove(&client).unwrap_or_default();
        self.taken_in_all = self.taken_in_all.saturating_sub(taken);
        self.free = self.free.saturating_add(taken);
    }

    pub(super) fn leave(&mut self, waiter: WaiterId) -> bool {
        self.line.remove(&waiter)
    }

    pub(super) const fn line(&mut self) -> &mut Line {
        &mut self.line
    }

    pub(super) fn waiting(&self) -> usize {
        self.line.len()
    }

    pub(super) const fn free(&self) -> u64 {
        self.free
    }

    pub(super) const fn kind(&self) -> Kind {
        if self.bound.is_some() { Kind::BoundedSemaphore } else { Kind::Semaphore }
    }

    pub(super) const fn held(&self) -> u64 {
        self.taken_in_all
    }
}

/// Returns `true` if a token is that of the permits of a connection.
const fn owns(client: ClientId, token: u64) -> bool {
    client.serial() == token
}

//! `Lock` and `RLock`: one holder, fair hand-over, and an optional lease.
//!
//! The holder is a thread of a connection. Each grant has a token that is greater than all before, and the release must
//! name it. So a holder whose lease has ended cannot release the lock of its successor, and the token can serve as a
//! fence for what the lock protects. If the previous holder died or lost its lease, the next grant says so.

use std::time::Duration;

use crate::limits::DEPTH_MAX;
use crate::proto::report::LockHolder;
use crate::proto::{Answer, Fault, Kind, LockOp, ObjectId, Payload, Reply, Wait};
use crate::state::context::{Context, Core, DONE, Outcome};
use crate::state::grants::Granted;
use crate::state::step::ClientId;
use crate::state::waiters::{Hold, Line, LockWant, TimerKey, WaiterId, Want};

#[derive(Debug, Clone, Copy)]
struct Holder {
    client: ClientId,
    thread: u64,
    token: u64,
    hold: Hold,
    /// When it was granted.
    since: u64,
}

/// A lock, reentrant or not.
#[derive(Debug)]
pub(super) struct Lock {
    is_reentrant: bool,
    holder: Option<Holder>,
    line: Line,
    /// The token of the newest grant.
    newest: u64,
    /// Whether the last holder did not release the lock.
    owner_died: bool,
    /// The timer of the newest lease. A lease that was released leaves its timer until the next one begins, so a lock has
    /// one timer at most, however often it is taken.
    timer: Option<TimerKey>,
}

impl Lock {
    pub(super) const fn new(is_reentrant: bool) -> Self {
        Self { is_reentrant, holder: None, line: Line::new(), newest: 0, owner_died: false, timer: None }
    }

    /// Returns what a snapshot contains: the token of the newest grant, and whether the next holder hears that the last one
    /// did not release the lock.
    pub(super) const fn saved(&self) -> (u64, bool) {
        (self.newest, self.owner_died || self.holder.is_some())
    }

    pub(super) fn restored(is_reentrant: bool, newest: u64, owner_died: bool) -> Self {
        Self { newest, owner_died, ..Self::new(is_reentrant) }
    }

    pub(super) fn apply(&mut self, op: &LockOp, context: &mut Context<'_>) -> Outcome {
        match *op {
            LockOp::Acquire { lease } => self.acquire(lease, context),
            LockOp::Release { token } => match self.release(context.client, token) {
                Ok(()) => {
                    context.touch();
                    DONE.into()
                }
                Err(fault) => Outcome::Answer(Err(fault)),
            },
            LockOp::IsLocked => Outcome::Answer(Ok(Reply::Bool(self.holder.is_some()))),
        }
    }

    fn acquire(&mut self, lease: u64, context: &mut Context<'_>) -> Outcome {
        let (hold, since) = (Hold { depth: 1, lease }, context.core.now());
        let want = LockWant { hold, since, timed_out: false, notified_by: None };
        let (client, thread) = (context.client, context.target.thread);
        match &mut self.holder {
            Some(holder) if holder.client == client && holder.thread == thread => {
                if !self.is_reentrant {
                    let is_try = context.target.wait == Wait::No;
                    return Outcome::Answer(Err(if is_try { Fault::WouldBlock } else { Fault::Deadlock }));
                }
                if holder.hold.depth >= DEPTH_MAX {
                    return Outcome::Answer(Err(Fault::TooMany { limit: DEPTH_MAX }));
                }
                holder.hold.depth = holder.hold.depth.saturating_add(1);
                let token = holder.token;
                context.note_grant(Granted::Lock { token, owner_died: false });
                Outcome::Answer(Ok(Reply::Granted { token, owner_died: false, timed_out: false }))
            }
            None if self.line.is_empty() => {
                context.hold();
                let object = context.target.object;
                Outcome::Answer(Ok(self.grant(object, (client, context.call, thread), want, context.core)))
            }
            _ => context.park(&mut self.line, Want::Lock(want), Fault::WouldBlock),
        }
    }

    fn grant(
        &mut self,
        object: ObjectId,
        (client, call, thread): (ClientId, u64, u64),
        want: LockWant,
        core: &mut Core,
    ) -> Reply<Payload> {
        self.newest = self.newest.saturating_add(1);
        let token = self.newest;
        if want.hold.lease > 0 {
            self.remove_timer(core);
            self.timer = Some(core.begin_lease(want.hold.lease, object, token));
        }
        self.holder = Some(Holder { client, thread, token, hold: want.hold, since: core.now() });
        let owner_died = std::mem::take(&mut self.owner_died);
        let LockWant { hold, since, timed_out, notified_by } = want;
        let what = match notified_by {
            None if !timed_out => Granted::Lock { token, owner_died },
            notified_by => Granted::LockAgain { token, owner_died, notified_by },
        };
        core.note_grant(client, call, object, what);
        match hold.lease {
            0 => Reply::Granted { token, owner_died, timed_out },
            _ => {
                let waited = core.now().saturating_sub(since);
                Reply::GrantedLease { token, owner_died, timed_out, waited }
            }
        }
    }

    fn release(&mut self, client: ClientId, token: u64) -> Result<(), Fault> {
        match &mut self.holder {
            Some(holder) if holder.client == client && holder.token == token => {
                holder.hold.depth = holder.hold.depth.saturating_sub(1);
                if holder.hold.depth == 0 {
                    self.holder = None;
                }
                Ok(())
            }
            _ => Err(Fault::NotOwned),
        }
    }

    /// Releases the lock at any depth, and returns how it was held, for a caller that waits for a notification and then
    /// holds it in the same way.
    pub(super) fn release_all(&mut self, client: ClientId, token: u64) -> Result<Hold, Fault> {
        match self.holder {
            Some(holder) if holder.client == client && holder.token == token => {
                self.holder = None;
                Ok(holder.hold)
            }
            _ => Err(Fault::NotOwned),
        }
    }

    /// Takes back a grant whose answer nobody has seen. The next holder learns what that answer said.
    pub(super) fn take_back(&mut self, client: ClientId, what: Granted) {
        let (outcome, died) = match what {
            Granted::Lock { token, owner_died } => (self.release(client, token), owner_died),
            Granted::LockAgain { token, owner_died, .. } => {
                (self.release_all(client, token).map(drop), owner_died)
            }
            Granted::Permit | Granted::Task { .. } => return,
        };
        self.owner_died |= died && outcome.is_ok();
    }

    /// Adds a caller that waited for a notification to the line for the lock.
    pub(super) fn join_line(&mut self, waiter: WaiterId) {
        self.line.insert(waiter);
    }

    /// Serves the line. Returns `false` if the step does not allow that.
    pub(super) fn serve(&mut self, id: ObjectId, core: &mut Core) -> bool {
        while self.holder.is_none() {
            let Some(waiter) = core.next_of(&mut self.line) else { return self.line.is_empty() };
            let Want::Lock(want) = waiter.want else { continue };
            core.hold(waiter.client, id);
            let reply = self.grant(id, (waiter.client, waiter.call, waiter.thread), want, core);
            core.answer(waiter.client, waiter.call, Ok(reply));
        }
        true
    }

    /// Removes the timer of a lease that has no effect any more.
    fn remove_timer(&mut self, core: &mut Core) {
        if let Some(timer) = self.timer.take() {
            core.waiters.remove_timer(timer);
        }
    }

    /// Ends the lock, and answers all waiters.
    pub(super) fn end(mut self, core: &mut Core, answer: &Answer<Payload>) {
        self.remove_timer(core);
        core.answer_all(&mut self.line, answer);
    }

    /// Ends the lease of a grant. Does nothing if that grant was released.
    pub(super) fn end_lease(&mut self, token: u64) {
        if self.holder.is_some_and(|holder| holder.token == token) {
            self.holder = None;
            self.owner_died = true;
        }
    }

    pub(super) fn release_client(&mut self, client: ClientId) {
        if self.holder.is_some_and(|holder| holder.client == client) {
            self.holder = None;
            self.owner_died = true;
        }
    }

    pub(super) fn leave(&mut self, waiter: WaiterId) -> bool {
        self.line.remove(&waiter)
    }

    /// Returns who holds the lock at the time `now`.
    pub(super) fn holder(&self, now: u64) -> Option<LockHolder> {
        let Holder { client, thread, token, hold, since } = self.holder?;
        let lease = self.timer.filter(|_| hold.lease > 0);
        Some(LockHolder {
            client: client.serial(),
            thread,
            token,
            depth: hold.depth,
            held_for: Duration::from_nanos(now.saturating_sub(since)),
            lease_left: lease.map(|timer| Duration::from_nanos(timer.at().saturating_sub(now))),
        })
    }

    pub(super) fn waiting(&self) -> usize {
        self.line.len()
    }

    pub(super) const fn line(&mut self) -> &mut Line {
        &mut self.line
    }

    pub(super) const fn kind(&self) -> Kind {
        if self.is_reentrant { Kind::RLock } else { Kind::Lock }
    }

    pub(super) fn held(&self) -> u64 {
        u64::from(self.holder.is_some())
    }
}

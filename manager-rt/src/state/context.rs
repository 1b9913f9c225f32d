//! What an operation may do apart from changing its own object: count references and memory, wait, hold, deliver.

mod parking;
mod room;

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::count::count_of;
use crate::limits::{NAME_BYTES_MAX, WAITING_CALLS_MAX};
use crate::proto::{Answer, Fault, ObjectId, Payload, Raw, Reply, Wait};
use crate::state::charges::Memory;
use crate::state::claims::Claims;
use crate::state::clients::Clients;
use crate::state::grants::Granted;
use crate::state::journal::Journal;
use crate::state::registry::Registry;
use crate::state::sessions::Sessions;
use crate::state::step::{Answered, Caller, ClientId, EncodedNames, Limits};
use crate::state::undo::Undo;
use crate::state::waiters::{Line, LockWant, Timer, TimerKey, Waiter, WaiterId, Waiters, Want};
use crate::state::work::{CALLER, VALUE, Work};

/// The result of an operation.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The operation was answered.
    Answer(Answer<Payload>),
    /// The caller waits in a line.
    Parked,
}

impl From<Answer<Payload>> for Outcome {
    fn from(answer: Answer<Payload>) -> Self {
        Self::Answer(answer)
    }
}

/// All state of a manager outside the objects.
pub(super) struct Core {
    pub(super) limits: Limits,
    pub(super) registry: Registry,
    pub(super) clients: Clients,
    /// The bequests that nobody has claimed yet, by number.
    pub(super) bequests: HashMap<u128, (ClientId, TimerKey)>,
    /// The newest bequests that were refused and not claimed yet, and why.
    pub(super) refused_bequests: VecDeque<(u128, Fault)>,
    pub(super) claims: Claims,
    pub(super) sessions: Sessions,
    pub(super) waiters: Waiters,
    /// The clients with calls that wait for room in the share, if something has happened since that may have made room.
    pub(super) roomier: VecDeque<ClientId>,
    pub(super) journal: Journal,
    /// Objects whose lines have to be served.
    pub(super) touched: Vec<ObjectId>,
    pub(super) outbox: Vec<Answered>,
    /// The time of the newest event, in nanoseconds.
    now: u64,
    /// When the manager began to serve.
    pub(super) started: u64,
    /// How many operations were finished so far.
    pub(super) operations: u64,
    pub(super) memory: Memory,
    pub(super) work: Work,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl Core {
    pub(super) fn new(limits: Limits) -> Self {
        let memory = Memory::new(limits);
        Self {
            limits,
            registry: Registry::new(&memory.account),
            clients: Clients::default(),
            bequests: HashMap::new(),
            refused_bequests: VecDeque::new(),
            claims: Claims::default(),
            sessions: Sessions::default(),
            waiters: Waiters::new(&memory.account),
            roomier: VecDeque::new(),
            journal: Journal::default(),
            touched: Vec::new(),
            outbox: Vec::new(),
            now: 0,
            started: 0,
            operations: 0,
            memory,
            work: Work::default(),
        }
    }

    /// Moves the clock on to the time of an event. Time never runs backwards, whatever the event says.
    pub(super) const fn reach(&mut self, now: u64) {
        if now > self.now {
            self.now = now;
        }
    }

    /// Returns the time of the newest event, in nanoseconds.
    pub(super) const fn now(&self) -> u64 {
        self.now
    }

    /// Returns the time after this many nanoseconds.
    pub(super) const fn after(&self, nanos: u64) -> u64 {
        self.now.saturating_add(nanos)
    }

    /// Marks an object whose lines have to be served.
    pub(super) fn touch(&mut self, object: ObjectId) {
        if self.touched.last() != Some(&object) {
            self.touched.push(object);
        }
    }

    /// Answers a call.
    #[inline]
    pub(super) fn answer(&mut self, client: ClientId, call: u64, answer: Answer<Payload>) {
        if let Some(to) = self.clients.get_mut(client) {
            to.count_answer();
            self.operations = self.operations.wrapping_add(1);
            self.outbox.push(Answered { client, call, answer, more: Vec::new(), names: None });
            self.may_have_room(client);
        }
    }

    /// Answers several calls whose numbers follow one another.
    pub(super) fn answer_together(
        &mut self,
        (client, call): (ClientId, u64),
        answer: Answer<Payload>,
        more: Vec<Answer<Payload>>,
    ) {
        if let Some(to) = self.clients.get_mut(client) {
            to.count_answer();
            let others = count_of(more.len());
            to.joined = to.joined.wrapping_add(others);
            self.operations = self.operations.wrapping_add(1).wrapping_add(others);
            self.outbox.push(Answered { client, call, answer, more, names: None });
            self.may_have_room(client);
        }
    }

    /// Counts a notice, which is not answered.
    pub(super) fn count_notice(&mut self, client: ClientId) {
        if let Some(client) = self.clients.get_mut(client) {
            client.notices = client.notices.wrapping_add(1);
            self.operations = self.operations.wrapping_add(1);
        }
        self.may_have_room(client);
    }

    /// Answers a call with names that were encoded in steps.
    pub(super) fn answer_names(&mut self, client: ClientId, call: u64, names: EncodedNames) {
        if let Some(to) = self.clients.get_mut(client) {
            to.count_answer();
            self.operations = self.operations.wrapping_add(1);
            let names = Some(Box::new(names));
            self.outbox.push(Answered { client, call, answer: DONE, more: Vec::new(), names });
        }
    }

    /// Removes the first waiter from a line and from the list of waiters, and returns it. Passes over the calls of
    /// clients that have ended, and returns `None` if the step does not allow that.
    pub(super) fn next_of(&mut self, line: &mut Line) -> Option<Waiter> {
        let first = self.first_of(line)?;
        line.remove(&first);
        self.work.charge(CALLER);
        self.take_waiter(first)
    }

    /// Returns the waiter that [`next_of`](Self::next_of) would remove.
    pub(super) fn first_of(&mut self, line: &mut Line) -> Option<WaiterId> {
        self.pass_over_ended(line);
        let first = line.first().copied()?;
        (!self.work.is_over() || self.is_live(first)).then_some(first)
    }

    /// Removes the calls of clients that have ended from the front of a line, as far as the step allows.
    pub(super) fn pass_over_ended(&mut self, line: &mut Line) {
        while let Some(first) = line.first().copied()
            && !self.is_live(first)
            && !self.work.is_over()
        {
            line.remove(&first);
            self.work.charge(CALLER);
            match self.take_waiter(first).map(|waiter| waiter.want) {
                Some(Want::Room(items)) => self.let_go_all(items),
                Some(Want::Lock(LockWant { notified_by: Some(condition), .. })) => {
                    self.work.passing_on.push(condition);
                }
                _ => {}
            }
        }
    }

    /// Returns `true` if a waiter's client has not ended.
    pub(super) fn is_live(&self, waiter: WaiterId) -> bool {
        self.waiters.get(waiter).is_some_and(|waiter| self.clients.contains(waiter.client))
    }

    /// Removes a waiter, which is still in its line.
    pub(super) fn take_waiter(&mut self, id: WaiterId) -> Option<Waiter> {
        let waiter = self.waiters.remove(id)?;
        if let Some(client) = self.clients.get_mut(waiter.client) {
            client.remove_waiter(waiter.call);
            client.go_on(id, waiter.stalled_for);
            self.may_have_room(waiter.client);
        }
        Some(waiter)
    }

    /// Checks whether one more call of a client may wait.
    ///
    /// # Errors
    /// [`Fault::TooMany`]; [`Fault::NoRoom`]; [`Fault::Malformed`] if a call with this number already waits, since only one of them could
    /// be found when the client ends; [`Fault::Unauthorised`] for a client that has ended, which can request nothing.
    pub(super) fn may_wait(&mut self, client: ClientId, call: u64, want: &Want) -> Result<(), Fault> {
        let client = self.clients.get_mut(client).ok_or(Fault::Unauthorised)?;
        if client.waiting() >= WAITING_CALLS_MAX {
            let limit = WAITING_CALLS_MAX.try_into().unwrap_or(u64::MAX);
            return Err(Fault::TooMany { limit });
        }
        if client.waiter(call).is_some() {
            return Err(Fault::Malformed);
        }
        Ok(client.check_waiter(want.outside())?)
    }

    /// Puts a call into a line.
    pub(super) fn park(
        &mut self,
        caller: (ClientId, u64, u64),
        object: ObjectId,
        want: Want,
        deadline: Option<u64>,
    ) -> Option<WaiterId> {
        let client = self.clients.get_mut(caller.0)?;
        let items = want.outside();
        let waiter = self.waiters.insert(caller, object, want, (self.now, deadline));
        client.add_waiter(caller.1, waiter, items);
        Some(waiter)
    }

    /// Records that a client may hold something of an object.
    pub(super) fn hold(&mut self, client: ClientId, object: ObjectId) {
        if let Some(client) = self.clients.get_mut(client) {
            client.add_hold(object, |object| self.registry.slot(object).is_some());
        }
    }

    /// Notes what leaves with the next answer of a client, until the client has read it.
    pub(super) fn note_grant(&mut self, client: ClientId, call: u64, object: ObjectId, what: Granted) {
        if let Some(client) = self.clients.get_mut(client) {
            client.grant(call, object, what);
        }
    }

    /// Begins the lease of a lock that is granted now, and passes on after this many nanoseconds.
    pub(super) fn begin_lease(&mut self, nanos: u64, object: ObjectId, token: u64) -> TimerKey {
        self.waiters.add_timer(self.after(nanos), Timer::Lease { object, token })
    }
}

/// The object and the time limit of an operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) object: ObjectId,
    pub(super) thread: u64,
    pub(super) wait: Wait,
}

/// The surroundings of one operation.
#[derive(Debug)]
pub(super) struct Context<'s> {
    pub(super) core: &'s mut Core,
    pub(super) client: ClientId,
    pub(super) target: Target,
    pub(super) call: u64,
    frame: &'s Bytes,
}

impl<'s> Context<'s> {
    pub(super) fn new(core: &'s mut Core, caller: Caller<'s>, target: Target) -> Self {
        let Caller { client, call, frame, .. } = caller;
        Self { core, client, target, call, frame }
    }

    /// Stores a value in the manager's memory.
    ///
    /// # Errors
    /// [`Fault::TooLarge`], [`Fault::NoRoom`], [`Fault::UnknownObject`] for a proxy inside the value.
    #[inline]
    pub(super) fn keep(&mut self, raw: Raw<'_>) -> Result<Payload, Fault> {
        self.core.keep(raw, self.frame)
    }

    /// Stores several values, or none.
    ///
    /// # Errors
    /// As for [`keep`](Self::keep).
    pub(super) fn keep_all(&mut self, raws: Vec<Raw<'_>>) -> Result<Vec<Payload>, Fault> {
        let mut kept = Vec::with_capacity(raws.len());
        for raw in raws {
            match self.keep(raw) {
                Ok(payload) => kept.push(payload),
                Err(fault) => {
                    self.core.let_go_all(kept);
                    return Err(fault);
                }
            }
        }
        Ok(kept)
    }

    /// Releases a value that this operation stored and did not use.
    pub(super) fn let_go(&mut self, payload: Payload) {
        self.core.let_go(payload);
    }

    /// Copies a stored value for the caller, who also gets references to the objects inside unless the answer is an
    /// error.
    #[inline]
    pub(super) fn give(&mut self, payload: &Payload) -> Payload {
        self.core.work.charge(VALUE / 2);
        if !payload.is_plain() {
            for object in payload.raw().objects() {
                if self.core.refer(self.client, object) {
                    self.core.journal.give(self.client, object);
                }
            }
        }
        payload.clone()
    }

    /// Notes how to undo a change. The commit releases what the change replaced.
    #[inline]
    pub(super) fn note(&mut self, undo: Undo) {
        self.core.journal.push(self.target.object, undo);
    }

    /// Marks this object, so that its lines are served after the commit.
    pub(super) fn touch(&mut self) {
        self.core.touch(self.target.object);
    }

    /// Records that the caller may hold something of this object.
    pub(super) fn hold(&mut self) {
        self.core.hold(self.client, self.target.object);
    }

    /// Notes what leaves with the answer to this call, until the client has read it.
    pub(super) fn note_grant(&mut self, what: Granted) {
        self.core.note_grant(self.client, self.call, self.target.object, what);
    }
}

/// Checks the name of an object or attribute.
///
/// # Errors
/// [`Fault::BadName`].
pub(super) fn check_name(name: &str) -> Result<(), Fault> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Fault::BadName { limit: NAME_BYTES_MAX.try_into().unwrap_or(u64::MAX) });
    }
    Ok(())
}

/// Checks a number against its limits.
///
/// # Errors
/// [`Fault::OutOfRange`].
pub(super) fn check_range(number: u64, least: u64, most: u64) -> Result<(), Fault> {
    if (least..=most).contains(&number) { Ok(()) } else { Err(Fault::OutOfRange { least, most }) }
}

/// The answer that only reports success.
pub(super) const DONE: Answer<Payload> = Ok(Reply::Done);
